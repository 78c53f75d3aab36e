"""Signals while something must be put away: only the main thread may handle them, others pass."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

# What ends a program that does nothing about it.
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], None] | signal.Handlers


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block in the way Ctrl-C does: ``KeyboardInterrupt``."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(signal.SIGTERM, signal.SIGHUP, handler=interrupt):
        yield


@contextmanager
def unimpressed() -> Iterator[None]:
    """Ignore all that would end the block."""
    with _handled(*ENDING, handler=signal.SIG_IGN):
        yield


@contextmanager
def postponed() -> Iterator[None]:
    """Let signals that would end the block have their effect only after it."""
    late: list[int] = []
    with _handled(*ENDING, handler=lambda number, frame: late.append(number)):
        yield
    if late:
        raise KeyboardInterrupt


@contextmanager
def _handled(*numbers: signal.Signals, handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, handler)
        for number in numbers
        if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
    }
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
