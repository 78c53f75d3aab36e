"""What happens where the kernel refuses something, or a disk is small: in a process of its own."""

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

# Of x86_64.
FLOCK: Final = 73
LINK: Final = (86, 265)  # link, linkat

_NO_NEW_PRIVILEGES: Final = 38
_SECCOMP: Final = 22
_FILTER: Final = 2
_NEW_MOUNTS: Final = 0x00020000
_PRIVATE: Final = 0x00044000  # MS_REC | MS_PRIVATE

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def outcome(work: Callable[[], object]) -> str:
    """Do something in a process that is gone afterwards; return the result or error as text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = str(work())
        except BaseException as problem:
            said = f"{type(problem).__name__}: {problem}"
        os.write(writer, os.fsencode(said)[:60_000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = os.fsdecode(pipe.read())
    assert os.waitpid(child, 0)[1] == 0
    return said


def refuse(calls: tuple[int, ...], number: int) -> None:
    """Have the kernel answer system calls of this process with an error, from now on."""
    program = struct.pack("=HBBI", 0x20, 0, 0, 0)  # the call's number
    for call in calls:
        program += struct.pack("=HBBI", 0x15, 0, 1, call)  # another one: past the next
        program += struct.pack("=HBBI", 0x06, 0, 0, 0x00050000 | number)  # the error
    program += struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)  # allowed
    code = ctypes.create_string_buffer(program)
    filter_ = ctypes.create_string_buffer(
        struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    )
    _done(_LIBC.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _done(_LIBC.prctl(_SECCOMP, _FILTER, filter_, 0, 0))


def can_mount() -> bool:
    """Tell whether this user may mount something for a process alone."""
    return outcome(lambda: _done(_LIBC.unshare(_NEW_MOUNTS))) == "None"


def mount_small_disk(folder: Path, size: int) -> None:
    """Mount an empty disk of so many bytes, which only this process sees."""
    _done(_LIBC.unshare(_NEW_MOUNTS))
    _done(_LIBC.mount(b"none", b"/", None, _PRIVATE, None))
    options = f"size={size}".encode()
    _done(_LIBC.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options))


def _done(answer: int) -> None:
    if answer != 0:
        number = ctypes.get_errno() or errno.EPERM
        raise OSError(number, os.strerror(number))
