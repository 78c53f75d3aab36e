"""The two forms of a conda package as streams of tar members: ``.conda`` and ``.tar.bz2``.

``.conda`` is a zip file with two tar archives in zstd, one with ``info/``, one with the rest; in
``.tar.bz2`` both are mixed. See conda's documentation of package formats, and CEP 35.
"""

import bz2
import io
import lzma
import posixpath
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

from mlruntime.ecosystems.conda.forward import Forward, Readable
from mlruntime.errors import InvalidLock, Unavailable
from mlruntime.layers.paths import UnsafePath

INFO: Final = "info/"
NEW, OLD = ".conda", ".tar.bz2"
# All of info/ that is kept: paths.json of the largest packages has some 30 MB.
_INFO_BYTES: Final = 128 << 20
# Conda's tools compress with windows of up to 128 MiB (zstd's level 22, --ultra).
_WINDOW_BYTES: Final = 1 << 27
MISSING: Final = "install it with `pip install 'mlruntime[conda]'`"

Member = tuple[tarfile.TarInfo, IO[bytes] | None]


def stem(filename: str) -> str:
    """Return ``NAME-VERSION-BUILD``; ``InvalidLock`` for another kind of file."""
    for ending in (NEW, OLD):
        if filename.endswith(ending) and filename.count("-") >= 2:
            return filename.removesuffix(ending)
    raise InvalidLock(
        f"{filename} is not a conda package", why=f"it ends with neither {NEW} nor {OLD}"
    )


@contextmanager
def readable(filename: str) -> Iterator[None]:
    """Turn whatever a broken archive makes its readers raise into ``InvalidLock``."""
    # What zstandard raises can be named only where it is installed.
    try:
        yield
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        UnsafePath,
        FileExistsError,
        ValueError,  # and zstandard.ZstdError's cousins, UnicodeError, JSON
        KeyError,
        EOFError,
        OverflowError,
        RuntimeError,  # zipfile's, for a file that is encrypted
        NotImplementedError,
        struct.error,
        zlib.error,
        lzma.LZMAError,
        RecursionError,
    ) as error:
        raise _unusable(filename, error) from None
    except OSError as error:
        if error.errno is None:  # bz2's word for damaged data has no number
            raise _unusable(filename, error) from None
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] == "zstandard":
            raise _unusable(filename, error) from None
        raise


def _unusable(filename: str, error: BaseException) -> InvalidLock:
    said = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return InvalidLock(
        f"{filename} cannot be installed",
        why=said or type(error).__name__,
        hint="the package is broken: ask for another version or build of it",
    )


def info_files(path: Path, filename: str) -> dict[str, bytes]:
    """Return the files below ``info/`` by their path there."""
    found: dict[str, bytes] = {}
    left = _INFO_BYTES
    for info, content in _members(path, filename, INFO):
        name = posixpath.normpath(info.name)
        if content is None or not name.startswith(INFO):
            continue
        left -= info.size
        if left < 0:
            raise ValueError(f"info/ has more than {_INFO_BYTES >> 20} MiB")
        found[name.removeprefix(INFO)] = _whole(content, info.size)
    return found


def members(path: Path, filename: str) -> Iterator[Member]:
    """Yield what is not below ``info/``, in the archive's order, each to be read at once."""
    for info, content in _members(path, filename, "pkg/"):
        if not posixpath.normpath(info.name).startswith(INFO):
            yield info, content


def _whole(content: IO[bytes], size: int) -> bytes:
    blocks = list(iter(lambda: content.read(1 << 20), b""))
    found = b"".join(blocks)
    if len(found) != size:
        raise ValueError("the archive ends too early")
    return found


def _members(path: Path, filename: str, part: str) -> Iterator[Member]:
    with ExitStack() as stack:
        stream = _stream(stack, path, filename, part)
        with tarfile.open(fileobj=Forward(stream), mode="r:") as archive:
            while (info := archive.next()) is not None:
                yield info, archive.extractfile(info) if info.isreg() else None
                archive.__dict__["members"].clear()  # it would keep them all


def _stream(stack: ExitStack, path: Path, filename: str, part: str) -> Readable:
    if filename.endswith(OLD):
        return stack.enter_context(bz2.open(path, "rb"))
    archive = stack.enter_context(zipfile.ZipFile(path))
    name = f"{part.rstrip('/')}-{stem(filename)}.tar.zst"
    inner = stack.enter_context(archive.open(name))
    return stack.enter_context(unzstd(inner))


@contextmanager
def unzstd(source: IO[bytes]) -> Iterator[Readable]:
    """Yield what a zstd stream holds; ``Unavailable`` without the extra ``conda``."""
    try:
        import zstandard
    except ImportError:
        raise Unavailable("conda packages need Python's zstandard", hint=MISSING) from None
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
    with decompressor.stream_reader(source, read_across_frames=True) as reader:
        yield io.BufferedReader(reader)
