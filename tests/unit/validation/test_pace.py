"""How much time checks get: what was asked for, and how slow the host is."""

import queue
import subprocess
import sys
from collections.abc import Sequence

import pytest
from mlruntime.errors import CommandFailed
from mlruntime.validation.measuring import measure
from mlruntime.validation.pace import MOST, REFERENCE_SECONDS, Pace


def test_a_fast_host_shortens_nothing_and_a_hanging_one_stretches_not_for_ever() -> None:
    assert Pace().factor == Pace(seconds=0.1).factor == 1
    assert Pace(seconds=REFERENCE_SECONDS * 3).factor == 3
    assert Pace(multiplier=2, seconds=REFERENCE_SECONDS * 3).factor == 6
    assert Pace(multiplier=2, seconds=1e9).factor == 2 * MOST


def test_the_reason_is_told() -> None:
    assert Pace().why is Pace(seconds=0.1).why is None
    assert Pace(multiplier=2).why == "--timeout-multiplier 2"
    slow = Pace(multiplier=2, seconds=1.26).why
    assert slow == (
        "--timeout-multiplier 2; the host is slow or busy: a computation that takes 0.42 s on two "
        "idle cores took 1.3 s"
    )


def test_the_slowest_measurement_counts() -> None:
    pace = Pace(multiplier=2).slower(None).slower(2.1).slower(0.5).slower(None)
    assert pace == Pace(multiplier=2, seconds=2.1)


class Process:
    """A process whose output is known."""

    def __init__(self, *items: object) -> None:
        self.items: queue.Queue[object] = queue.Queue()
        self.killed = False
        for item in items:
            self.items.put(item)

    def kill(self) -> None:
        self.killed = True


STARTED = ("stdout", "started")


@pytest.mark.parametrize(
    ("items", "seconds"),
    [
        ((STARTED, ("stdout", "1.5"), 0), 1.5),
        ((STARTED, ("stderr", "a warning"), ("stdout", "1.5"), 0), 1.5),
        ((STARTED, ("stdout", "1.5"), 137), None),
        ((STARTED, ("stdout", "what"), 0), None),
        ((("stdout", "1.5"), 0), None),
        ((CommandFailed("gone"),), None),
    ],
)
def test_only_a_proper_answer_is_a_measurement(
    items: tuple[object, ...], seconds: float | None
) -> None:
    assert measure(lambda argv: Process(*items), 2) == seconds  # type: ignore[arg-type, return-value]


class Silent(queue.Queue[object]):
    """Gives what is in it, then nothing, without letting anybody wait."""

    def get(self, block: bool = True, timeout: float | None = None) -> object:
        return super().get(block=False)


@pytest.mark.parametrize(("items", "seconds"), [((STARTED,), 60.0), ((), None)])
def test_a_computation_that_does_not_end_is_killed(
    items: tuple[object, ...], seconds: float | None
) -> None:
    """A host that is so busy is told from one that is frozen: there it would not even start."""
    ticks = iter(range(0, 1000, 10))
    process = Process()
    process.items = Silent()
    for item in items:
        process.items.put(item)
    assert measure(lambda argv: process, 2, clock=lambda: next(ticks)) == seconds  # type: ignore[arg-type, return-value]
    assert process.killed


@pytest.mark.starts
def test_the_program_measures() -> None:
    """With this Python; it prints one number, and starts as many processes as it is told."""

    def run(argv: Sequence[str]) -> Process:
        done = subprocess.run([sys.executable, *argv[1:]], capture_output=True, text=True)
        lines = [("stdout", line) for line in done.stdout.splitlines()]
        return Process(*lines, done.returncode)

    seconds = measure(run, 2)  # type: ignore[arg-type]
    assert seconds is not None
    assert 0.02 < seconds < 300
