"""Which GPUs a process may use, asked of the NVIDIA driver itself: needs no package, no CUDA.

Addresses are UUIDs, of a GPU or of a MIG slice: unlike an index they mean the same GPU to NVML,
to CUDA (whose order is another one) and in every container. ``CUDA_VISIBLE_DEVICES`` takes them.
"""

import contextlib
import ctypes
import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sparkdl._errors import NotEnoughSlots

_LIBRARY = "libnvidia-ml.so.1"
_TEXT_BYTES = 96
_NOT_FOUND, _NOT_SUPPORTED = 6, 3
_NOBODY = ("none", "void")
_KINDS = ("GPU-", "MIG-")


class _Failed(Exception):  # noqa: N818
    """NVML returned an error code."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gpu:
    """A GPU; in MIG mode it is its slices that can be used (``None``: not in MIG mode)."""

    uuid: str
    slices: tuple[str, ...] | None

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.uuid,) if self.slices is None else self.slices


def visible(
    environ: Mapping[str, str], say: Callable[[str], None] = lambda _: None
) -> tuple[str, ...]:
    """Return the UUIDs of the GPUs that a process with this environment may use.

    None without a driver. ``CUDA_VISIBLE_DEVICES`` counts as for CUDA, in the order in which it
    names GPUs (indices are NVML's), and ``NVIDIA_VISIBLE_DEVICES`` where it names UUIDs or
    nobody: other values have had their effect before a container starts. A GPU that cannot be
    read is left out, and ``say`` hears of it.
    """
    shown = environ.get("NVIDIA_VISIBLE_DEVICES", "").strip()
    if shown in _NOBODY:
        return ()
    gpus = tuple(_read(say))
    named = [word for word in shown.split(",") if word.startswith(_KINDS)]
    if named:
        gpus = tuple(one for gpu in gpus if (one := _kept(gpu, named)) is not None)
    listed = environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return tuple(address for gpu in gpus for address in gpu.addresses)
    return _chosen(gpus, listed.split(","))


def for_ranks(environ: Mapping[str, str], np: int) -> tuple[str, ...]:
    """Return one GPU for each of ``np`` ranks on this machine, or none if it has none.

    Raises ``NotEnoughSlots`` when there are some, but too few. A TensorFlow that was built
    without CUDA needs none.
    """
    if _without_cuda():
        return ()
    found = visible(environ)
    if found and len(found) < np:
        raise NotEnoughSlots(
            f"np=-{np}, but this machine has {len(found)} GPUs to use, and every rank needs one of "
            "its own. Lower it, or train on the CPU with "
            "options(environment={'CUDA_VISIBLE_DEVICES': ''})."
        )
    return found[:np]


def main() -> None:
    """Be a discovery script of Spark's: print this machine's GPUs in the form that it reads."""

    def say(line: str) -> None:
        print(f"discover-gpus: {line}", file=sys.stderr)  # noqa: T201

    found = visible(os.environ, say)
    print(json.dumps({"name": "gpu", "addresses": list(found)}))  # noqa: T201


def _without_cuda() -> bool:
    """Tell whether the TensorFlow of this Python is the package that has no CUDA in it."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version("tensorflow-cpu"))
    return False


def _kept(gpu: _Gpu, named: list[str]) -> _Gpu | None:
    """Return what is left of a GPU when only these UUIDs may be used."""
    if gpu.uuid in named:
        return gpu
    slices = tuple(one for one in gpu.slices or () if one in named)
    return _Gpu(uuid=gpu.uuid, slices=slices) if slices else None


def _chosen(gpus: tuple[_Gpu, ...], words: list[str]) -> tuple[str, ...]:
    """Return what CUDA would show: all that is named, up to the first word that names nothing.

    As CUDA itself does (tests/gpu asks it; seen with driver 580): the first word decides whether
    all of them are UUIDs or all are indices, either is read as far as it makes sense and the rest
    of the word ignored, and a GPU that is named twice hides all of them.
    """
    find = _by_uuid if words[0].startswith(_KINDS) else _by_index
    chosen: list[str] = []
    for word in words:
        found = find(gpus, word)
        if found is None:
            break
        chosen.append(found)
    return tuple(chosen) if len(set(chosen)) == len(chosen) else ()


def _by_uuid(gpus: tuple[_Gpu, ...], word: str) -> str | None:
    """Return the one device whose UUID begins with this word, which is more than its kind."""
    kind, digits = word[:4], word[4:].lower()
    if not digits:
        return None
    everything = (one for gpu in gpus for one in gpu.addresses if one.startswith(kind))
    found = [one for one in everything if one[4:].lower().startswith(digits[: len(one) - 4])]
    return found[0] if len(found) == 1 else None


def _by_index(gpus: tuple[_Gpu, ...], word: str) -> str | None:
    """Return the device at this index, read as C's ``atoi`` reads it.

    CUDA shows one slice of a GPU in MIG mode.
    """
    number = re.match(r"\s*([+-]?[0-9]+)", word)
    if number is None or not 0 <= int(number[1]) < len(gpus):
        return None
    return next(iter(gpus[int(number[1])].addresses), None)


def _read(say: Callable[[str], None]) -> Iterator[_Gpu]:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return  # no driver: nothing to tell
    try:
        _call(library, "nvmlInit_v2")
    except _Failed as error:
        say(f"the NVIDIA driver does not answer: {error}")
        return
    try:
        count = ctypes.c_uint()
        _call(library, "nvmlDeviceGetCount_v2", ctypes.byref(count))
        for index in range(count.value):
            try:
                handle = _handle(library, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index))
                yield _Gpu(uuid=_uuid(library, handle), slices=_slices(library, handle))
            except _Failed as error:
                say(f"GPU {index} is left out: {error}")
    except _Failed as error:
        say(f"the NVIDIA driver fails: {error}")
    finally:
        library.nvmlShutdown()


def _slices(library: Any, handle: Any) -> tuple[str, ...] | None:
    current, pending = ctypes.c_uint(), ctypes.c_uint()
    try:
        _call(library, "nvmlDeviceGetMigMode", handle, ctypes.byref(current), ctypes.byref(pending))
    except (_Failed, AttributeError) as error:  # an old driver does not have the function
        if isinstance(error, _Failed) and error.code != _NOT_SUPPORTED:
            raise
        return None
    if not current.value:
        return None
    most = ctypes.c_uint()
    _call(library, "nvmlDeviceGetMaxMigDeviceCount", handle, ctypes.byref(most))
    found = []
    for number in range(most.value):
        try:
            one = _handle(
                library, "nvmlDeviceGetMigDeviceHandleByIndex", handle, ctypes.c_uint(number)
            )
        except _Failed as error:
            if error.code != _NOT_FOUND:  # a place that no slice has taken
                raise
            continue
        found.append(_uuid(library, one))
    return tuple(found)


def _handle(library: Any, call: str, *words: Any) -> Any:
    handle = ctypes.c_void_p()
    _call(library, call, *words, ctypes.byref(handle))
    return handle


def _uuid(library: Any, handle: Any) -> str:
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    _call(library, "nvmlDeviceGetUUID", handle, text, ctypes.c_uint(_TEXT_BYTES))
    return text.value.decode()


def _call(library: Any, call: str, *words: Any) -> None:
    code = getattr(library, call)(*words)
    if code:
        raise _Failed(f"{call} returned {code}", code)
