"""What is sent to the ranks: ``main`` and its arguments, pickled."""

import inspect
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sparkdl import _keeper
from sparkdl._errors import NotSendable

# Pickled again for each task by Spark, so what is larger goes by broadcast.
INLINE = 256 << 10
LIMIT = 1 << 30


class _TooLarge(Exception):  # noqa: N818
    pass


class _Limited(io.BytesIO):
    """A buffer that refuses to grow beyond ``LIMIT``: nobody waits for gigabytes in vain."""

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > LIMIT:
            raise _TooLarge
        return super().write(data)


def pack(main: Callable[..., Any], kwargs: Mapping[str, Any]) -> bytes:
    """Pickle ``main`` and its arguments, or raise ``NotSendable`` with what is in the way."""
    import cloudpickle

    buffer = _Limited()
    try:
        cloudpickle.dump((main, dict(kwargs)), buffer)
    except _TooLarge:
        raise NotSendable(
            f"main and its arguments are larger than {LIMIT >> 20} MiB pickled"
            f"{_largest(main, kwargs)}. "
            "Put the data where ranks can read it (a shared folder, HDFS, an object store, a "
            "table) and give main its path."
        ) from None
    except Exception as error:
        raise NotSendable(
            f"main cannot be sent to the ranks: {error}.{_culprit(main, kwargs)} Create it inside "
            "main instead, or pass what it can be made from."
        ) from error
    return buffer.getvalue()


def frameworks(main: Callable[..., Any], payload: bytes) -> tuple[str, ...]:
    """Return the frameworks to import before ranks are forked: those that ``main`` names.

    A function of an importable module is pickled as its name, so that module's text counts too.
    """
    text = payload + _source(main)
    switched = any(name.encode() in text for name in _keeper.SWITCHES)
    names = _keeper.FRAMEWORKS[:1] if switched else _keeper.FRAMEWORKS
    return tuple(name for name in names if all(p.encode() in text for p in name.split(".")))


def _source(main: Callable[..., Any]) -> bytes:
    module = sys.modules.get(getattr(main, "__module__", None) or "")
    try:
        return Path(str(getattr(module, "__file__", None) or "")).read_bytes()
    except OSError:
        return b""


def _parts(main: Callable[..., Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in kwargs.items():
        yield f"the argument {name!r}", value
    function = getattr(main, "__func__", main)
    if inspect.isfunction(function):
        found = inspect.getclosurevars(function)
        for name, value in {**found.nonlocals, **found.globals}.items():
            if not inspect.ismodule(value):
                yield f"the variable {name!r}, which main uses", value
    if getattr(main, "__self__", None) is not None:
        yield "the object that main is a method of", main.__self__


def _culprit(main: Callable[..., Any], kwargs: Mapping[str, Any]) -> str:
    import cloudpickle

    for name, value in _parts(main, kwargs):
        try:
            cloudpickle.dump(value, _Limited())
        except _TooLarge:
            continue
        except Exception:
            return f" It is {name} ({type(value).__name__})."
    return ""


def _largest(main: Callable[..., Any], kwargs: Mapping[str, Any]) -> str:
    sizes = []
    for name, value in _parts(main, kwargs):
        size = getattr(value, "nbytes", None)
        if size is None and isinstance(value, bytes | bytearray | str):
            size = len(value)
        if isinstance(size, int):
            sizes.append((size, name))
    if not sizes:
        return ""
    size, name = max(sizes)
    return f" ({name} alone has {size >> 20} MiB)"
