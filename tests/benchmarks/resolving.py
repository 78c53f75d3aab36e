"""How long a resolution takes, in-process, with the whole matrix."""

import time
from pathlib import Path
from statistics import median

from mlruntime.definitions.runtime import parse_runtime
from mlruntime.errors import NoCompatibleVersions
from mlruntime.matrix.parsing import parse_matrix
from mlruntime.resolve.resolution import resolve

from tests.benchmarks.figures import Figures

ROOT = Path(__file__).parents[2]
ROUNDS = 30
CASES = {
    "6.0-ml as it is": (),
    "6.0-ml, TensorFlow free": ("tensorflow", "keras"),
    "no solution, explained (TensorFlow 2.16)": ("tensorflow==2.16.2",),
}


def measure() -> Figures:
    """Time parsing and resolving, median of several rounds."""
    text = (ROOT / "matrix.yaml").read_text(encoding="utf-8")
    runtime = (ROOT / "runtimes/6.0-ml/runtime.yaml").read_text(encoding="utf-8")
    rows = [("what", "median", "worst")]
    rows.append(_row("reading matrix.yaml", lambda: parse_matrix(text, file="m"), 3))
    matrix = parse_matrix(text, file="m")
    definition = parse_runtime(runtime, file="r")
    for name, settings in CASES.items():
        request = definition.with_settings(settings).request

        def once(request: object = request) -> None:
            try:
                resolve(matrix, request)  # type: ignore[arg-type]
            except NoCompatibleVersions as error:
                str(error)

        rows.append(_row(f"resolve: {name}", once, ROUNDS))
    releases = sum(len(c.releases) for c in matrix.components.values())
    return Figures(
        name="resolve",
        note=f"The whole matrix: {len(matrix.components)} components, {releases} releases,"
        f" {len(matrix.rules)} rules.",
        rows=tuple(rows),
    )


def _row(name: str, action: object, rounds: int) -> tuple[str, str, str]:
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()  # type: ignore[operator]
        seconds.append(time.perf_counter() - started)
    return name, f"{median(seconds) * 1000:.1f} ms", f"{max(seconds) * 1000:.1f} ms"
