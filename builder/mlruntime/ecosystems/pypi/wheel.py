"""Wheels installed into a place: a virtual environment in a layer, or one in a directory.

PyPA's ``installer`` decides what goes where; here is a destination for it that writes to a sink,
streaming each file.
"""

import configparser
import csv
import errno
import io
import posixpath
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, cast

import installer
from installer.destinations import WheelDestination
from installer.exceptions import InstallerError
from installer.records import InvalidRecordEntry, RecordEntry, parse_record_file
from installer.scripts import Script
from installer.sources import WheelFile
from installer.utils import Scheme, construct_record_file, fix_shebang, parse_entrypoints

from mlruntime.ecosystems.place import BESIDE, PLACEHOLDER_INTERPRETER
from mlruntime.ecosystems.pypi.content import Content
from mlruntime.ecosystems.pypi.site import Again, Site
from mlruntime.ecosystems.pypi.zipped import Member
from mlruntime.errors import InvalidLock
from mlruntime.layers.paths import UnsafePath, checked
from mlruntime.layers.sink import Sink

# Read into memory, unlike a wheel's other files. RECORD of the largest wheels has about 2 MiB.
_METADATA_BYTES: Final = 64 << 20
# What a wheel that breaks its format, or a path that leaves the place, makes the installer raise.
_UNUSABLE: Final = (
    InstallerError,
    InvalidRecordEntry,
    FileExistsError,
    AssertionError,
    ValueError,  # and UnsafePath
    KeyError,
    IndexError,
    EOFError,
    configparser.Error,  # entry_points.txt
    csv.Error,  # RECORD
    struct.error,
    zlib.error,
    RuntimeError,  # zipfile's, for a file that is encrypted or compressed in an unknown way
    zipfile.BadZipFile,
)


Wanted = Callable[[str], bool]  # of what `installed_as` returns


def _all(_path: str) -> bool:
    return True


def _none(_path: str) -> bool:
    return False


class _Wheel(WheelFile):
    """A wheel whose members come with their size, in the archive's order; those that are wanted.

    Bytecode that a wheel brings along is left out: an installer must not trust it, and ours
    takes its place. So are scripts by the name of an entry point, for which one is made: that is
    what pip does, and what old versions of setuptools rely on.
    """

    def __init__(self, archive: zipfile.ZipFile, wanted: Wanted = _all) -> None:
        super().__init__(archive)
        self._wanted = wanted

    def get_contents(self) -> Iterator[Any]:
        records = {
            record[0]: record
            for record in parse_record_file(self.read_dist_info("RECORD").splitlines())
        }
        made = self._entry_points()
        archive = cast("BinaryIO", self._zipfile.fp)
        for info in self._zipfile.infolist():
            if info.is_dir() or "__pycache__" in info.filename.split("/")[:-1]:
                continue
            self._refuse_unclear(info.filename)
            if _script(info.filename) in made or not self._wanted(installed_as(info.filename)):
                continue
            member = Member(archive, info)
            mode = info.external_attr >> 16
            executable = stat.S_ISREG(mode) and bool(mode & 0o111)
            record = records.get(info.filename, (info.filename, "", ""))
            yield record, _Unread(member, record[1], info), executable

    def _refuse_unclear(self, filename: str) -> None:
        """Raise ``UnsafePath`` for a path that the installer cannot tell the scheme of.

        It goes up from a path until it meets the ``.data`` folder, and does not end where that is
        the path itself or is spelt in another way (``./toy-1.data/scripts/toy``).
        """
        if checked(filename) != filename:
            raise UnsafePath(f"{filename}: not a plain path")
        parts = filename.split("/")
        if parts[0] == self.data_dir and len(parts) < 3:
            raise UnsafePath(f"{filename}: not in a folder of {self.data_dir}")

    def read_dist_info(self, filename: str) -> str:
        path = posixpath.join(self.dist_info_dir, filename)
        if self._zipfile.getinfo(path).file_size > _METADATA_BYTES:
            raise zipfile.BadZipFile(f"{path} is larger than {_METADATA_BYTES >> 20} MiB")
        return super().read_dist_info(filename)

    def _entry_points(self) -> frozenset[str]:
        if "entry_points.txt" not in self.dist_info_filenames:
            return frozenset()
        found = parse_entrypoints(self.read_dist_info("entry_points.txt"))
        return frozenset(name for name, *_ in found)


def installed_as(filename: str) -> str:
    """Return a wheel's path below site-packages; that in the wheel, if it goes elsewhere."""
    top, _, rest = filename.partition("/")
    scheme, _, path = rest.partition("/")
    return path if top.endswith(".data") and scheme in ("purelib", "platlib") else filename


def _script(filename: str) -> str:
    """Return the entry point that a script of a wheel may be the wrapper of; ``""``: no script."""
    top, _, name = filename.rpartition("/")
    if not top.endswith(".data/scripts"):
        return ""
    for ending in (".exe", "-script.py", ".pya"):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


class _Unread(Content):
    """A member of a wheel, which can be read a second time."""

    def __init__(self, member: Member, recorded: str, info: zipfile.ZipInfo) -> None:
        super().__init__(member, member.size, recorded)
        self.info = info


class _Destination(WheelDestination):
    """Writes one wheel's files, scripts and RECORD to a sink."""

    def __init__(
        self,
        sink: Sink,
        site: Site,
        wheel: Path,
        filename: str,
        bytecode: zipfile.ZipFile | None,
        elsewhere: Wanted = _none,
    ) -> None:
        self._sink = sink
        self._elsewhere = elsewhere
        self._site = site
        self._wheel = wheel
        self._filename = filename
        self._bytecode = bytecode
        self._compiled = frozenset(bytecode.namelist()) if bytecode else frozenset()
        place = site.place
        self._interpreter = place.interpreter or PLACEHOLDER_INTERPRETER
        self._roots = {
            "purelib": place.site_packages,
            "platlib": place.site_packages,
            "scripts": place.within("bin"),
            "headers": place.within(f"include/site/python{place.python}"),
            "data": place.prefix,
        }
        self._tag = f"cpython-{place.python.replace('.', '')}"

    def write_file(
        self, scheme: Scheme, path: Any, stream: Any, is_executable: bool
    ) -> RecordEntry:
        target = f"{self._roots[scheme]}/{path}".lstrip("/")
        if scheme == "scripts":
            with fix_shebang(io.BytesIO(stream.read()), self._interpreter) as fixed:
                return self._add(target, str(path), self._started(fixed.read()), executable=True)
        if not isinstance(stream, _Unread):
            return self._add(target, str(path), stream.read(), executable=is_executable)
        if not self._site.is_new(target, self._filename, stream.size, self._again(stream)):
            stream.read()
            return stream.record(str(path))
        if self._elsewhere(installed_as(stream.info.filename)):
            return stream.unread_record(str(path))
        stream.write_to(self._sink, target, executable=is_executable)
        if target in self._compiled and self._bytecode is not None:
            self._write_bytecode(target, self._bytecode)
        return stream.record(str(path))

    def _started(self, script: bytes) -> bytes:
        """Return a script that starts with the place's interpreter, or with the one beside it."""
        line = f"#!{PLACEHOLDER_INTERPRETER}\n".encode()
        return BESIDE + script.removeprefix(line) if script.startswith(line) else script

    def _add(self, target: str, path: str, data: bytes, *, executable: bool) -> RecordEntry:
        """Write a file that is in memory."""
        if self._site.is_new(target, self._filename, len(data), lambda: data):
            self._sink.data(target, data, executable=executable)
        content = Content.of(data)
        content.read()
        return content.record(path)

    def _again(self, member: "_Unread") -> Again:
        wheel, info = self._wheel, member.info

        def read() -> bytes:
            with wheel.open("rb") as handle:
                return Member(handle, info).read()

        return read

    def _write_bytecode(self, source: str, bytecode: zipfile.ZipFile) -> None:
        module = PurePosixPath(source)
        compiled = f"{module.parent}/__pycache__/{module.stem}.{self._tag}.pyc"
        self._sink.data(compiled, bytecode.read(source))

    def write_script(self, name: str, module: str, attr: str, section: Any) -> RecordEntry:
        script = Script(name, module, attr, section)
        script_name, data = script.generate(self._interpreter, "posix")
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
            above = posixpath.relpath(f"/{self._roots[other]}", f"/{self._roots[scheme]}")
            return f"{above}/"

        with construct_record_file(records, prefix) as stream:
            self._sink.data(f"{self._roots[scheme]}/{record_file_path}", stream.read())


class _Listing(_Destination):
    """Notes what a wheel brings, and where; nothing is inflated that need not be compared."""

    def __init__(self, site: Site, wheel: Path, filename: str) -> None:
        super().__init__(cast("Sink", _Nowhere()), site, wheel, filename, None)

    def write_file(
        self, scheme: Scheme, path: Any, stream: Any, is_executable: bool
    ) -> RecordEntry:
        if scheme == "scripts" or not isinstance(stream, _Unread):
            return super().write_file(scheme, path, stream, is_executable)
        target = f"{self._roots[scheme]}/{path}".lstrip("/")
        self._site.is_new(target, self._filename, stream.size, self._again(stream))
        return RecordEntry(str(path), None, None)


class _Nowhere:
    """The one method of a sink that is called while files are only noted."""

    def data(self, path: str, content: bytes, *, executable: bool = False) -> None:
        """Write nothing."""


def note_files(wheel: Path, filename: str, site: Site, wanted: Wanted = _all) -> None:
    """Note in ``site`` where a wheel's files would be installed; nothing is written.

    Raises ``InvalidLock`` where ``install_wheel`` would, but for what only reading a file shows.
    """
    with _usable(wheel, filename) as archive:
        installer.install(_Wheel(archive, wanted), _Listing(site, wheel, filename), {})


def install_wheel(
    sink: Sink,
    wheel: Path,
    filename: str,
    site: Site,
    bytecode: Path | None = None,
    wanted: Wanted = _all,
    elsewhere: Wanted = _none,
) -> None:
    """Install a wheel through a sink into the place of ``site``, which other wheels share.

    ``filename`` is the wheel's own name (the store's has none), ``bytecode`` the archive made by
    ``pypi.bytecode`` for it, if there is one. ``RECORD`` lists what is ``wanted`` alone, and of
    that also what is ``elsewhere``: files that ``add_files`` writes somewhere else. A wheel that
    breaks the wheel format, that has a path outside of the place, or a file that another wheel
    has with different content raises ``InvalidLock``.
    """
    with _usable(wheel, filename) as archive, ExitStack() as stack:
        compiled = stack.enter_context(zipfile.ZipFile(bytecode)) if bytecode else None
        destination = _Destination(sink, site, wheel, filename, compiled, elsewhere)
        installer.install(_Wheel(archive, wanted), destination, {"INSTALLER": b"mlruntime\n"})


def add_files(sink: Sink, wheel: Path, filename: str, site: Site, wanted: Wanted) -> int:
    """Add some files of a wheel's packages that ``install_wheel`` was told not to; count them."""
    added = 0
    with _usable(wheel, filename) as archive:
        for record, content, executable in _Wheel(archive, wanted).get_contents():
            target = f"{site.place.site_packages}/{installed_as(record[0])}"
            content.write_to(sink, target, executable=executable)
            added += 1
    return added


@contextmanager
def _usable(wheel: Path, filename: str) -> Iterator[zipfile.ZipFile]:
    """Open a wheel by its own name; what makes it no use raises ``InvalidLock``."""
    try:
        with wheel.open("rb") as handle, zipfile.ZipFile(handle) as archive:
            archive.filename = filename
            yield archive
    except (OSError, *_UNUSABLE) as error:
        # zipfile seeks to where a damaged archive says, before its start or beyond any end.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise InvalidLock(
            f"{filename} cannot be installed", why=_why(error), hint="lock another version"
        ) from None


def _why(error: Exception) -> str:
    if isinstance(error, FileExistsError):
        return f"{error.args[0]} is there already"
    return str(error.args[0]) if isinstance(error, KeyError) else str(error)
