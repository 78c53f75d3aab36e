"""What is sent to the ranks: ``main`` and its arguments, pickled."""

import importlib
import inspect
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import IO, Any

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
    buffer = _Limited()
    try:
        _pickle((main, dict(kwargs)), buffer)
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


def _pickle(value: Any, file: IO[bytes]) -> None:
    """Pickle by cloudpickle, with what it leaves out.

    Functions keep the name of their file, so that tracebacks and stalls are told with it; a module
    that is loaded lazily, like the ``keras`` of ``from tensorflow import keras``, goes by name.
    """
    import cloudpickle

    class Pickler(cloudpickle.CloudPickler):
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, ModuleType) and type(obj) is not ModuleType:
                name = getattr(obj, "__name__", None)  # loads it
                if name in sys.modules:
                    return importlib.import_module, (name,)
            if isinstance(obj, CodeType):
                make, words = self.dispatch_table[CodeType](obj)
                return _with_file, (make, words, obj.co_filename)
            return super().reducer_override(obj)

    Pickler(file).dump(value)


def _with_file(make: Callable[..., CodeType], words: tuple[Any, ...], file: str) -> CodeType:
    return make(*words).replace(co_filename=file)


def _parts(main: Callable[..., Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in kwargs.items():
        yield f"the argument {name!r}", value
    yield from _used_by(main, "main")


def _used_by(function: Any, caller: str) -> Iterator[tuple[str, Any]]:
    """Yield what a function brings along: its variables, and the object it is a method of."""
    plain = getattr(function, "__func__", function)
    if inspect.isfunction(plain):
        found = inspect.getclosurevars(plain)
        inner = {
            name: plain.__globals__[name]
            for name in _globals_within(plain.__code__)
            if name in plain.__globals__
        }
        for name, value in {**found.nonlocals, **found.globals, **inner}.items():
            if type(value) is not ModuleType:
                yield f"the variable {name!r}, which {caller} uses", value
    if getattr(function, "__self__", None) is not None:
        yield f"the object that {caller} is a method of", function.__self__


def _globals_within(code: CodeType) -> set[str]:
    """Return the names that functions defined within a function use."""
    inner = [one for one in code.co_consts if isinstance(one, CodeType)]
    return {name for one in inner for name in {*one.co_names, *_globals_within(one)}}


def _culprit(main: Callable[..., Any], kwargs: Mapping[str, Any]) -> str:
    """Name what cannot be pickled, in the function that uses it itself."""
    found = _unsendable(_parts(main, kwargs), set())
    return "" if found is None else f" It is {found}."


def _unsendable(parts: Iterator[tuple[str, Any]], seen: set[int]) -> str | None:
    for name, value in parts:
        if id(value) in seen:
            continue
        seen.add(id(value))
        try:
            _pickle(value, _Limited())
        except _TooLarge:
            continue
        except Exception:
            inner = _unsendable(_used_by(value, getattr(value, "__name__", name)), seen)
            return inner or f"{name} ({type(value).__name__})"
    return None


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
