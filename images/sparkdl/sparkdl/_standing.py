"""Where a rank stands, seen from a thread beside ``main``: does it move, and if not, in what.

A rank that waits for another one is in a call that does not return. Its main thread is then not
scheduled at all, which the kernel counts: the same number of context switches a second later means
that it has done nothing in between. Nothing has to be changed in what ``main`` calls for this.
"""

import contextlib
import functools
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from types import FrameType, ModuleType
from typing import Any

from sparkdl._imports import after_import

_LOOK_SECONDS = 1.0
# While it moves, where it is is only of interest when another rank waits for it.
_TELL_SECONDS = 5.0
# A look that comes this late was not possible earlier: the whole process was stopped.
_LATE_SECONDS = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")
_OWN = os.path.dirname(__file__) + os.sep  # noqa: PTH120
_CALLER = _OWN + "_rank.py"
# Packages of which a call may wait for other ranks.
_COLLECTIVE = ("horovod", "tensorflow")
_BASICS = "horovod.common.basics"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What a rank does: ``still`` for so many seconds (0: it moves), ``within`` which package.

    ``busy`` is how many cores its other threads used meanwhile, ``where`` the place in words, and
    ``epoch`` and ``step`` count from 1 where Keras' ``fit`` is running.
    """

    still: float = 0.0
    busy: float = 0.0
    within: str = ""
    where: str = ""
    epoch: int | None = None
    step: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as it travels to the driver."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Standing":
        """Read back what ``to_dict`` returned."""
        return cls(**data)


class Lookout:
    """Looks once a second at this process' main thread, and reports when it stands still."""

    def __init__(self, report: Callable[[Mapping[str, Any]], None]) -> None:
        self._report = report
        self._main = threading.main_thread()
        self._others: set[int] = set()  # Horovod's own threads, which never rest

    def start(self) -> None:
        """Begin to look, for as long as this process lives."""
        after_import(_BASICS, self._note_horovods_threads)
        threading.Thread(target=self._look, name="sparkdl-lookout", daemon=True).start()

    def _note_horovods_threads(self, basics: ModuleType) -> None:
        """Have ``hvd.init()`` tell which threads it has started."""
        original = basics.HorovodBasics.init

        @functools.wraps(original)
        def init(*words: Any, **named: Any) -> Any:
            before = set(_tasks())
            try:
                return original(*words, **named)
            finally:
                self._others |= set(_tasks()) - before

        basics.HorovodBasics.init = init

    def _look(self) -> None:
        # The main thread of a process has the number of the process.
        main, mine = os.getpid(), threading.get_native_id()
        last: tuple[int, ...] = ()
        looked = since = told = time.monotonic()
        still, before = False, (0.0, 0.0)
        while True:
            time.sleep(_LOOK_SECONDS)
            now, found = time.monotonic(), _activity(main)
            late, looked = now - looked > _LATE_SECONDS, now
            moved = found != last or not found or late
            if moved:
                last, since = found, now
                if not still and now - told <= _TELL_SECONDS:
                    continue  # the usual case, which costs next to nothing
            busy = 1.0  # until it is known
            if not moved and not still:
                before = now, self._used(main, mine)
            elif not moved:
                busy = max(0.0, self._used(main, mine) - before[1]) / (now - before[0])
            told, still = now, not moved
            with contextlib.suppress(OSError):
                self._report(standing(self._frame(), still=now - since, busy=busy).to_dict())

    def _frame(self) -> FrameType | None:
        return sys._current_frames().get(self._main.ident or 0)

    def _used(self, main: int, mine: int) -> float:
        """Return the seconds that all threads have used but those that say nothing of ``main``."""
        return sum(_seconds(one) for one in _tasks() if one not in {main, mine, *self._others})


def standing(frame: FrameType | None, *, still: float, busy: float) -> Standing:
    """Describe where a thread is, by its innermost frame."""
    frames = list(_frames(frame))
    epoch, step = _progress(frames)
    return Standing(
        still=still,
        busy=round(busy, 3),
        within=_package(frames[0]) if frames and _package(frames[0]) in _COLLECTIVE else "",
        where=_place(frames),
        epoch=epoch,
        step=step,
    )


def _place(frames: list[FrameType]) -> str:
    """Say which line of the user's own code it is, and which call of a library it is in."""
    if not frames:
        return "before or after main"
    depth = next((i for i, one in enumerate(frames) if not _is_library(one)), len(frames))
    words = []
    if depth < len(frames):
        own = frames[depth]
        words.append(f"{own.f_code.co_filename}:{own.f_lineno} in {own.f_code.co_name}")
    if depth > 0:
        called = _outermost(frames[:depth])
        words.append(f"in {_name(called)}")
        horovods = [one for one in frames[:depth] if _package(one) == "horovod"]
        if horovods and horovods[-1] is not called:
            words.append(f"in {_name(horovods[-1])}")
    return ", ".join(words)


def _outermost(frames: list[FrameType]) -> FrameType:
    """Return the call that the user has made, not a decorator's function around it."""
    plain = [one for one in frames if "<locals>" not in one.f_code.co_qualname]
    return plain[-1] if plain else frames[-1]


def _name(frame: FrameType) -> str:
    return f"{_package(frame) or 'a library'}'s {frame.f_code.co_qualname}"


def _package(frame: FrameType) -> str:
    name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    if frame.f_code.co_filename == "<string>" and frame.f_back is not None and name != "__main__":
        # TensorFlow makes the functions of operations from text, in modules without a real name.
        return _package(frame.f_back)
    return name


@functools.cache
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({paths[name] + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def _is_library(frame: FrameType) -> bool:
    name = frame.f_code.co_filename
    if name == "<string>":
        return _package(frame) in _COLLECTIVE
    return name.startswith(("<frozen", _OWN, *_library_folders()))


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames of ``main`` and what it calls, the innermost first."""
    while frame is not None and frame.f_code.co_filename != _CALLER:
        yield frame
        frame = frame.f_back


def _progress(frames: list[FrameType]) -> tuple[int | None, int | None]:
    """Return the epoch and the step of Keras' ``fit``, which only its variables know."""
    for frame in frames:
        if frame.f_code.co_name == "fit" and _package(frame) in ("keras", "tf_keras"):
            values = frame.f_locals
            step = next((values[n] for n in ("step", "end_step") if n in values), None)
            return _counted(values.get("epoch")), _counted(step)
    return None, None


def _counted(value: Any) -> int | None:
    return value + 1 if isinstance(value, int) else None


def _tasks() -> list[int]:
    return [int(one) for one in os.listdir("/proc/self/task")]  # noqa: PTH208


def _fields(task: int) -> list[bytes]:
    try:
        with open(f"/proc/self/task/{task}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []  # it has ended


def _seconds(task: int) -> float:
    """Return the processor time that a thread has used."""
    fields = _fields(task)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def _activity(task: int) -> tuple[int, ...]:
    """Return numbers that change whenever a thread runs; none where the kernel has none."""
    try:
        with open(f"/proc/self/task/{task}/status", "rb") as file:  # noqa: PTH123
            lines = file.read().splitlines()
    except OSError:
        return ()
    switches = [int(line.split()[1]) for line in lines if b"ctxt_switches" in line]
    fields = _fields(task)
    return (*switches, int(fields[11]), int(fields[12])) if switches and fields else ()
