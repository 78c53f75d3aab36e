"""``./dev bench [NAME…]``: run the benchmarks and write their figures into docs/performance.md."""

import sys
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import (
    cluster,
    compose,
    compose_gpu,
    entrypoint,
    environment,
    gate,
    horovodrunner,
    mllib,
    resolving,
    roles,
    start,
)
from tests.benchmarks.figures import Figures

BENCHMARKS: dict[str, Callable[[], Figures]] = {
    "resolve": resolving.measure,
    "start": start.measure,
    "compose": compose.measure,
    "compose-gpu": compose_gpu.measure,
    "cluster": cluster.measure,
    "horovodrunner": horovodrunner.measure,
    "environment": environment.measure,
    "entrypoint": entrypoint.measure,
    "roles": roles.measure,
    **mllib.benchmarks(),
}


def main(names: list[str]) -> int:
    """Run the named benchmarks (all by default), one after another, or the gate."""
    if names[:1] == ["gate"]:
        return gate.main(names[1:])
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
        return 2
    page = Path(__file__).parents[2] / "docs" / "performance.md"
    for name in names or BENCHMARKS:
        figures = BENCHMARKS[name]()
        print(figures.markdown(), flush=True)
        page.write_text(figures.put_into(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
