"""``./dev bench gate``: whether a change made mlruntime slower or larger than ``baseline.json``.

It compares processor seconds, as multiples of a fixed piece of work done in the same run, and
bytes. Neither depends on what else the machine does, and the first hardly on the machine. Exit
status 1: something is worse by more than its tolerance. ``--accept`` writes what was measured.
"""

import argparse
import base64
import hashlib
import io
import json
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.place import image_place
from mlruntime.ecosystems.pypi.site import Site
from mlruntime.ecosystems.pypi.wheel import install_wheel
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.model import tag
from mlruntime.workflows.locked import read_lock

ROOT = Path(__file__).parents[2]
BASELINE = Path(__file__).with_name("baseline.json")
RUNTIMES = ("6.0-ml", "7.0-ml")
ROUNDS = 5
# What two runs of the same code differ by at most: on a busy machine, 0.19, 0.01 and nothing.
PROCESSOR, MEMORY, BYTES = 0.35, 0.10, 0.02
VERBS = (
    "--version",
    "resolve 6.0-ml",
    "resolve 7.0-ml --set tensorflow==2.16.2",
    "matrix check",
    "lock 6.0-ml --check",
    "diff 6.0-ml 7.0-ml",
    "build --help",
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A figure, and by what share of the baseline's it may be larger."""

    name: str
    value: float
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A figure beside the baseline's; ``None`` where the baseline has none."""

    measured: Measured
    baseline: float | None

    @property
    def worse(self) -> bool:
        """Return whether the figure is larger than its tolerance allows."""
        if self.baseline is None:
            return False
        return self.measured.value > self.baseline * (1 + self.measured.tolerance)

    def row(self) -> str:
        """Return a line for people."""
        if self.baseline is None:
            return f"new     {self.measured.name}: {self.measured.value:g}"
        change = self.measured.value / self.baseline - 1 if self.baseline else 0.0
        word = "WORSE" if self.worse else "ok"
        return f"{word:<7} {self.measured.name}: {self.measured.value:g}, {change:+.1%}"


def judge(measured: list[Measured], baseline: dict[str, float]) -> list[Verdict]:
    """Put figures beside the baseline's; a figure that the baseline alone has is an error.

    Raises ``ValueError`` then: a measurement that nobody makes any more guards nothing.
    """
    gone = sorted(set(baseline) - {figure.name for figure in measured})
    if gone:
        raise ValueError(f"in baseline.json and not measured: {', '.join(gone)}")
    return [Verdict(measured=figure, baseline=baseline.get(figure.name)) for figure in measured]


def main(words: list[str]) -> int:
    """Measure, compare, print; return the exit status."""
    parser = argparse.ArgumentParser(prog="./dev bench gate", description=__doc__)
    parser.add_argument("--accept", action="store_true", help="write the figures as the baseline")
    asked = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        wheel = _wheel(Path(folder))
        layer = Measured(name="bytes, a layer", value=_layer(wheel), tolerance=BYTES)
        measured = [*_processor_and_memory(wheel), layer, *_locked()]
    if asked.accept:
        text = json.dumps({figure.name: figure.value for figure in measured}, indent=2)
        BASELINE.write_text(text + "\n", encoding="utf-8")
        return 0
    verdicts = judge(measured, json.loads(BASELINE.read_text(encoding="utf-8")))
    print("\n".join(verdict.row() for verdict in verdicts))
    return int(any(verdict.worse for verdict in verdicts))


def _processor_and_memory(wheel: Path) -> list[Measured]:
    """Measure each verb and the layer writer in turn with the fixed piece of work; take the best.

    The best, because nothing makes a process use less than it needs.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ("work", "a layer", *VERBS)}
    peaks: dict[str, list[int]] = {verb: [] for verb in VERBS}
    for _ in range(ROUNDS):
        for name, work in (("work", _work), ("a layer", lambda: _layer(wheel))):
            before = time.process_time()
            work()
            seconds[name].append(time.process_time() - before)
        for verb in VERBS:
            used, peak = _process(verb)
            seconds[verb].append(used)
            peaks[verb].append(peak)
    unit = min(seconds.pop("work"))
    found = [
        Measured(
            name=f"processor seconds, {name}",
            value=round(min(taken) / unit, 3),
            tolerance=PROCESSOR,
        )
        for name, taken in seconds.items()
    ]
    found += [
        Measured(name=f"peak memory in KiB, {verb}", value=min(taken), tolerance=MEMORY)
        for verb, taken in peaks.items()
    ]
    return found


def _work() -> int:
    """Do the fixed piece of work: an interpreter's loop, and a digest."""
    total = 0
    for n in range(2_000_000):
        total += n % 7
    block = bytes(1 << 20)
    for _ in range(64):
        total += hashlib.sha256(block).digest()[0]
    return total


def _layer(wheel: Path) -> int:
    """Write a wheel as a layer, which is most of composing an image; return the layer's size."""
    target = io.BytesIO()
    writer = LayerWriter(target)
    install_wheel(writer, wheel, wheel.name, Site(image_place("3.11")))
    return writer.finish().size


def _wheel(folder: Path) -> Path:
    """Write a wheel of made-up modules, compressed as most are; the same bytes each time."""
    made = random.Random(20181113)
    files = {
        f"made/{n:03}.py": "".join(
            f"v{made.randrange(999)} = {made.random()}\n" for _ in range(2000)
        )
        for n in range(200)
    }
    about = "made-1.dist-info"
    files[f"{about}/METADATA"] = "Metadata-Version: 2.1\nName: made\nVersion: 1\n"
    files[f"{about}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{name},sha256={_digest(text)},{len(text)}" for name, text in files.items()]
    files[f"{about}/RECORD"] = "\n".join([*record, f"{about}/RECORD,,"]) + "\n"
    path = folder / "made-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return path


def _digest(text: str) -> str:
    found = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(found).rstrip(b"=").decode()


def _locked() -> list[Measured]:
    """Return how many bytes hosts download for each runtime's variants and flavours."""
    found = []
    for name in RUNTIMES:
        lock = read_lock(Definitions(ROOT), name)
        for flavour in lock.flavour_names:
            for variant in lock.variants:
                part = lock.cut(flavour).whole(variant.name)
                size = sum(a.size for a in part.artifacts)
                found.append(Measured(
                    name=f"bytes, artifacts of {name} {tag(variant.name, flavour)}",
                    value=size, tolerance=BYTES,
                ))  # fmt: skip
    return found


def _process(verb: str) -> tuple[float, int]:
    """Run a verb; return its processor seconds and its peak memory in KiB."""
    script = (
        "import resource, subprocess, sys;"
        "done = subprocess.run(sys.argv[1:], capture_output=True);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss, done.returncode)"
    )
    command = [sys.executable, "-c", script, sys.executable, "-m", "mlruntime", *verb.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    used, peak, _ = done.stdout.split()
    return float(used), int(peak)
