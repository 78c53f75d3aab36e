"""Wheels to layer entries: what an installer would put into the virtual environment ``/opt/ml``.

PyPA's ``installer`` decides what goes where; here is a destination for it that writes a layer
instead of a directory, streaming each file.
"""

import hashlib
import io
import posixpath
import stat
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, cast

import installer
from installer.destinations import WheelDestination
from installer.exceptions import InstallerError
from installer.records import Hash, RecordEntry, parse_record_file
from installer.scripts import Script
from installer.sources import WheelFile
from installer.utils import Scheme, construct_record_file, fix_shebang

from mlruntime.ecosystems.pypi.zipped import Member
from mlruntime.errors import InvalidLock
from mlruntime.layers.gzipped import SPLICED_FROM
from mlruntime.layers.writer import LayerWriter

PREFIX: Final = "opt/ml"
INTERPRETER: Final = f"/{PREFIX}/bin/python"
# The dynamic linker of Debian's amd64 looks here without being told to (ld.so(8), multiarch).
LIBRARIES: Final = "usr/lib/x86_64-linux-gnu"


def site_packages(python: str) -> str:
    """Return the environment's site-packages for a Python minor ("3.11"), relative to the root."""
    return f"{PREFIX}/lib/python{python}/site-packages"


class Site:
    """The site-packages of one layer while its wheels are written into it.

    ``python`` is the interpreter's minor ("3.11").
    """

    def __init__(self, python: str) -> None:
        self.python = python
        self.path = site_packages(python)
        self._empty: set[str] = set()
        self._libraries: list[PurePosixPath] = []

    def is_new(self, target: str, size: int) -> bool:
        """Note a file; return whether it has to be written.

        Wheels that share a namespace package each bring its empty ``__init__.py``: the same file
        to every installer, and one entry here.
        """
        path = PurePosixPath(target)
        if path.name.startswith("lib") and ".so" in path.suffixes:
            self._libraries.append(path)
        there = target in self._empty
        if size == 0:
            self._empty.add(target)
        return not (there and size == 0)

    def libraries(self, pattern: str) -> list[tuple[str, str]]:
        """Return the shared libraries in directories like ``pattern``, by name: (name, path)."""
        if not pattern:
            return []
        found = (p for p in self._libraries if p.parent.match(f"{self.path}/{pattern}"))
        return sorted((path.name, str(path)) for path in found)


class _Sized:
    """A stream that knows its length, as tar must at once, and its hash when it has been read.

    ``recorded`` is what the wheel says it is, if it does: as with other installers, that goes
    into ``RECORD`` as it is. The whole wheel's hash is locked, and each member's CRC is checked.
    """

    def __init__(self, stream: "BinaryIO | Member", size: int, recorded: str = "") -> None:
        self._stream = stream
        self._recorded = Hash.parse(recorded) if recorded else None
        self._digest = hashlib.sha256()
        self.size = size

    def _read(self, content: bytes) -> None:
        if self._recorded is None:
            self._digest.update(content)

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self._read(chunk)
        return chunk

    def write_to(self, writer: LayerWriter, path: str, *, executable: bool) -> None:
        """Add it to a layer; a member of an archive as it is compressed there, if that pays."""
        stream = self._stream
        if isinstance(stream, Member) and (stream.deflated or 0) >= SPLICED_FROM:
            writer.deflated(path, self._pieces(stream), self.size, executable=executable)
        else:
            writer.file(path, cast("BinaryIO", self), self.size, executable=executable)

    def _pieces(self, member: Member) -> Iterator[tuple[bytes, bytes]]:
        for plain, packed in member.pieces():
            self._read(plain)
            yield plain, packed

    def record(self, path: str) -> RecordEntry:
        if self._recorded is not None:
            return RecordEntry(path, self._recorded, self.size)
        encoded = urlsafe_b64encode(self._digest.digest()).decode("ascii").rstrip("=")
        return RecordEntry(path, Hash("sha256", encoded), self.size)


class _Wheel(WheelFile):
    """A wheel whose members come with their size, in the archive's order.

    Bytecode that a wheel brings along is left out: an installer must not trust it, and ours
    takes its place.
    """

    def get_contents(self) -> Iterator[Any]:
        records = {
            record[0]: record
            for record in parse_record_file(self.read_dist_info("RECORD").splitlines())
        }
        archive = cast("BinaryIO", self._zipfile.fp)
        for info in self._zipfile.infolist():
            if info.is_dir() or "__pycache__" in info.filename.split("/")[:-1]:
                continue
            member = Member(archive, info)
            mode = info.external_attr >> 16
            executable = stat.S_ISREG(mode) and bool(mode & 0o111)
            record = records.get(info.filename, (info.filename, "", ""))
            yield record, _Sized(member, member.size, record[1]), executable


class _Layer(WheelDestination):
    """Writes one wheel's files, scripts and RECORD into a layer."""

    def __init__(self, writer: LayerWriter, place: Site, bytecode: zipfile.ZipFile | None) -> None:
        self._writer = writer
        self._place = place
        self._bytecode = bytecode
        self._compiled = frozenset(bytecode.namelist()) if bytecode else frozenset()
        site, python = place.path, place.python
        self._roots = {
            "purelib": site,
            "platlib": site,
            "scripts": f"{PREFIX}/bin",
            "headers": f"{PREFIX}/include/site/python{python}",
            "data": PREFIX,
        }
        self._tag = f"cpython-{python.replace('.', '')}"

    def write_file(
        self, scheme: Scheme, path: Any, stream: Any, is_executable: bool
    ) -> RecordEntry:
        content = stream if isinstance(stream, _Sized) else _in_memory(stream.read())
        target = f"{self._roots[scheme]}/{path}"
        if scheme == "scripts":
            with fix_shebang(io.BytesIO(content.read()), INTERPRETER) as fixed:
                content = _in_memory(fixed.read())
            is_executable = True
        if not self._place.is_new(target, content.size):
            return content.record(str(path))
        content.write_to(self._writer, target, executable=is_executable)
        if target in self._compiled and self._bytecode is not None:
            self._write_bytecode(target, self._bytecode)
        return content.record(str(path))

    def _write_bytecode(self, source: str, bytecode: zipfile.ZipFile) -> None:
        module = PurePosixPath(source)
        compiled = f"{module.parent}/__pycache__/{module.stem}.{self._tag}.pyc"
        self._writer.data(compiled, bytecode.read(source))

    def write_script(self, name: str, module: str, attr: str, section: Any) -> RecordEntry:
        script = Script(name, module, attr, section)
        script_name, data = script.generate(INTERPRETER, "posix")
        return self.write_file(Scheme("scripts"), script_name, io.BytesIO(data), True)

    def finalize_installation(
        self,
        scheme: Scheme,
        record_file_path: str,
        records: Iterable[tuple[Scheme, RecordEntry]],
    ) -> None:
        def prefix(other: Scheme) -> str | None:
            if self._roots[other] == self._roots[scheme]:
                return None
            return posixpath.relpath(self._roots[other], self._roots[scheme]) + "/"

        with construct_record_file(records, prefix) as stream:
            self._writer.data(f"{self._roots[scheme]}/{record_file_path}", stream.read())


def _in_memory(data: bytes) -> _Sized:
    return _Sized(io.BytesIO(data), len(data))


def write_wheel(
    writer: LayerWriter, wheel: Path, filename: str, site: Site, bytecode: Path
) -> None:
    """Add an installed wheel to a layer, into ``site``, which its other wheels share.

    ``filename`` is the wheel's own name (the store's has none), ``bytecode`` the archive made by
    ``layering.bytecode`` for it. A wheel that breaks the wheel format raises ``InvalidLock``.
    """
    with wheel.open("rb") as handle, zipfile.ZipFile(handle) as archive:
        archive.filename = filename
        with zipfile.ZipFile(bytecode) as compiled:
            destination = _Layer(writer, site, compiled)
            try:
                installer.install(_Wheel(archive), destination, {"INSTALLER": b"mlruntime\n"})
            except (
                InstallerError,
                FileExistsError,
                AssertionError,
                ValueError,
                zipfile.BadZipFile,
            ) as error:
                raise InvalidLock(
                    f"{filename} cannot be installed", why=str(error), hint="lock another version"
                ) from None
