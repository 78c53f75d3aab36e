"""Wheels read: which files they have, where these go, and what makes a wheel no use."""

import configparser
import csv
import errno
import posixpath
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from installer.exceptions import InstallerError
from installer.records import InvalidRecordEntry, parse_record_file
from installer.sources import WheelFile
from installer.utils import parse_entrypoints

from mlruntime.ecosystems.pypi.content import SizedStream
from mlruntime.ecosystems.pypi.zipped import Member
from mlruntime.errors import InvalidLock
from mlruntime.layers.paths import UnsafePath, checked

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


def everything(_path: str) -> bool:
    """Want every file."""
    return True


class SafeWheel(WheelFile):
    """A wheel whose members come with their size, in the archive's order; those that are wanted.

    Bytecode that a wheel brings along is left out: an installer must not trust it, and ours
    takes its place. So are scripts by the name of an entry point, for which one is made: that is
    what pip does, and what old versions of setuptools rely on.
    """

    def __init__(self, archive: zipfile.ZipFile, wanted: Wanted = everything) -> None:
        super().__init__(archive)
        self._wanted = wanted

    def get_contents(self) -> Iterator[Any]:
        """Yield the members that are wanted: (entry of RECORD, content, executable)."""
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
            yield record, Unread(member, record[1], info), executable

    def _refuse_unclear(self, filename: str) -> None:
        """Raise ``UnsafePath`` for a path whose scheme the installer cannot tell.

        The installer goes up from a path until it meets the ``.data`` folder. It never ends if the
        path is that folder, or spells it in another way (``./toy-1.data/scripts/toy``).
        """
        if checked(filename) != filename:
            raise UnsafePath(f"{filename}: not a plain path")
        parts = filename.split("/")
        if parts[0] == self.data_dir and len(parts) < 3:
            raise UnsafePath(f"{filename}: not in a folder of {self.data_dir}")

    def read_dist_info(self, filename: str) -> str:
        """Return a file of metadata; ``BadZipFile`` for one that is far too large."""
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
    """Return where a wheel's file is installed below site-packages.

    A file that is installed elsewhere keeps its path in the wheel.
    """
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


class Unread(SizedStream):
    """A member of a wheel, which can be read a second time."""

    def __init__(self, member: Member, recorded: str, info: zipfile.ZipInfo) -> None:
        super().__init__(member, member.size, recorded)
        self.info = info


@contextmanager
def usable(wheel: Path, filename: str) -> Iterator[zipfile.ZipFile]:
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
