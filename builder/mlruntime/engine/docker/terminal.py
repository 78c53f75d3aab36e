"""A process in a container as if it ran in this terminal: keys go in, what it draws comes out."""

import os
import select
import signal
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

_CHUNK: Final = 1 << 16


def interact(
    connection: Any, keyboard: int, screen: int, resize: Callable[[int, int], None]
) -> None:
    """Connect a process to a terminal until it ends.

    ``connection`` is the SDK's stream of the process; ``keyboard`` and ``screen`` are descriptors
    of the terminal; ``resize`` is told its rows and columns, now and whenever they change.
    """
    stream = getattr(connection, "_sock", connection)
    with _raw(keyboard), _resized(screen, resize):
        sources = [stream, keyboard]
        while True:
            ready, _, _ = select.select(sources, [], [])
            if stream in ready:
                if not (drawn := stream.recv(_CHUNK)):
                    return
                _write(screen, drawn)
            if keyboard in ready:
                if keys := os.read(keyboard, _CHUNK):
                    stream.sendall(keys)
                else:
                    sources.remove(keyboard)


def _write(screen: int, drawn: bytes) -> None:
    while drawn:
        drawn = drawn[os.write(screen, drawn) :]


@contextmanager
def _raw(keyboard: int) -> Iterator[None]:
    """Pass every key on, Ctrl-C as well, and what was typed before."""
    before = termios.tcgetattr(keyboard)
    tty.setraw(keyboard, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextmanager
def _resized(screen: int, resize: Callable[[int, int], None]) -> Iterator[None]:
    def tell(*_: object) -> None:
        with suppress(OSError):
            size = os.get_terminal_size(screen)
            resize(size.lines, size.columns)

    before = signal.signal(signal.SIGWINCH, tell)
    tell()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
