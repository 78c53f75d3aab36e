"""Wheels installed into a place: a virtual environment in a layer, or one in a directory.

PyPA's ``installer`` decides what goes where; here is a destination for it that writes to a sink,
streaming each file.
"""

import io
import posixpath
import zipfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any, cast

import installer
from installer.destinations import WheelDestination
from installer.records import RecordEntry
from installer.scripts import Script
from installer.utils import Scheme, construct_record_file, fix_shebang

from mlruntime.ecosystems.place import BESIDE, PLACEHOLDER_INTERPRETER
from mlruntime.ecosystems.pypi.content import SizedStream
from mlruntime.ecosystems.pypi.site import Again, Site
from mlruntime.ecosystems.pypi.wheel_reading import (
    SafeWheel,
    Unread,
    Wanted,
    everything,
    installed_as,
    usable,
)
from mlruntime.ecosystems.pypi.zipped import Member
from mlruntime.layers.sink import Sink


def _none(_path: str) -> bool:
    return False


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
        if not isinstance(stream, Unread):
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
        content = SizedStream.of(data)
        content.read()
        return content.record(path)

    def _again(self, member: "Unread") -> Again:
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
        if scheme == "scripts" or not isinstance(stream, Unread):
            return super().write_file(scheme, path, stream, is_executable)
        target = f"{self._roots[scheme]}/{path}".lstrip("/")
        self._site.is_new(target, self._filename, stream.size, self._again(stream))
        return RecordEntry(str(path), None, None)


class _Nowhere:
    """The one method of a sink that is called while files are only noted."""

    def data(self, path: str, content: bytes, *, executable: bool = False) -> None:
        """Write nothing."""


def note_files(wheel: Path, filename: str, site: Site, wanted: Wanted = everything) -> None:
    """Note in ``site`` where a wheel's files would be installed; nothing is written.

    Raises ``InvalidLock`` where ``install_wheel`` would, but for what only reading a file shows.
    """
    with usable(wheel, filename) as archive:
        installer.install(SafeWheel(archive, wanted), _Listing(site, wheel, filename), {})


def install_wheel(
    sink: Sink,
    wheel: Path,
    filename: str,
    site: Site,
    bytecode: Path | None = None,
    wanted: Wanted = everything,
    elsewhere: Wanted = _none,
) -> None:
    """Install a wheel through a sink into the place of ``site``, which other wheels share.

    ``filename`` is the wheel's own name (the store's has none), ``bytecode`` the archive made by
    ``pypi.bytecode`` for it, if there is one. ``RECORD`` lists what is ``wanted`` alone, and of
    that also what is ``elsewhere``: files that ``add_files`` writes somewhere else. A wheel that
    breaks the wheel format, that has a path outside of the place, or a file that another wheel
    has with different content raises ``InvalidLock``.
    """
    with usable(wheel, filename) as archive, ExitStack() as stack:
        compiled = stack.enter_context(zipfile.ZipFile(bytecode)) if bytecode else None
        destination = _Destination(sink, site, wheel, filename, compiled, elsewhere)
        installer.install(SafeWheel(archive, wanted), destination, {"INSTALLER": b"mlruntime\n"})


def add_files(sink: Sink, wheel: Path, filename: str, site: Site, wanted: Wanted) -> int:
    """Add some files of a wheel's packages that ``install_wheel`` was told not to; count them."""
    added = 0
    with usable(wheel, filename) as archive:
        for record, content, executable in SafeWheel(archive, wanted).get_contents():
            target = f"{site.place.site_packages}/{installed_as(record[0])}"
            content.write_to(sink, target, executable=executable)
            added += 1
    return added
