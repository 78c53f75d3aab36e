"""Debian packages, unpacked into a layer as dpkg would, and what configuring them then changes."""

import hashlib
import io
import lzma
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, cast

from debian.arfile import ArError
from debian.deb822 import Deb822
from debian.debfile import DebError, DebFile

from mlruntime.ecosystems.debian import dpkg, keystore
from mlruntime.ecosystems.debian.dpkg import INFO, ControlArchive, ControlMember
from mlruntime.errors import InvalidLock, MlruntimeError
from mlruntime.layers.paths import UnsafePath, checked
from mlruntime.layers.sink import Sink
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.packages import Artifact

CACERTS: Final = "etc/ssl/certs/java/cacerts"
# What dpkg leaves out, and unpacking, too. OpenJDK needs its man pages' directory all the same.
_DOC: Final = "usr/share/doc/"
EXCLUDED: Final = ("usr/share/man/", "usr/share/info/", "usr/share/locale/", _DOC)
_COPYRIGHT: Final = "/copyright"
# Debian's /usr is merged: these are links into it.
_MERGED: Final = ("bin", "lib", "lib64", "sbin")
# Written while packages are configured, or put there by the engine; of no use in an image.
_LEFT_OUT: Final = ("run/", "tmp/", "var/cache/debconf/", "var/cache/ldconfig/", "var/log/")
_ENGINES: Final = frozenset(("etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"))
# What tells one machine from another: each container makes its own when something asks for it.
_OF_ONE_MACHINE: Final = frozenset(
    ("etc/machine-id", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed")
)
_NOT_KEPT: Final = _ENGINES | _OF_ONE_MACHINE
# What reading a file raises that is no archive, or one that ends too soon or is compressed wrongly.
_UNREADABLE: Final = (ArError, DebError, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError,
                      ValueError)  # fmt: skip
# Enters the keys of layers, and so an image's digest. It is a number and not a digest of this code,
# so that an edit that changes no layer's bytes changes no image; a test knows the bytes of a layer
# for this number, and fails when they change without it.
RECIPE: Final = "1"


@contextmanager
def _opened(artifact: Artifact, path: Path) -> Iterator[DebFile]:
    """Open a package to be read here; what is no package raises ``InvalidLock``."""
    try:
        with path.open("rb") as handle, DebFile(fileobj=handle) as deb:
            yield deb
    except UnsafePath as error:
        raise InvalidLock(
            f"{artifact.filename} has a path that no image may have",
            why=str(error),
            hint="leave the package out, or lock another version",
        ) from None
    except (OSError, *_UNREADABLE) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the host's, not the file's
        raise InvalidLock(
            f"{artifact.filename} is not a Debian package",
            why=f"{type(error).__name__}: {error}",
            hint="run `mlruntime lock` again; if the error stays, the archive is broken",
        ) from None


def read_package(artifact: Artifact, path: Path) -> ControlArchive:
    """Return what a package says of itself; ``InvalidLock`` if it is another one, or none."""
    with _opened(artifact, path) as deb:
        return _package(artifact, deb)


def installed_size(artifact: Artifact, path: Path) -> int:
    """Return what a package says that it takes when it is installed, in bytes.

    deb-control(5), ``Installed-Size``: an estimate in KiB. It is 0 for a package that says nothing.
    """
    said = Deb822(read_package(artifact, path).paragraph).get("Installed-Size", "0")
    return int(said) * 1024 if said.isdecimal() else 0


def _package(artifact: Artifact, deb: DebFile) -> ControlArchive:
    members = tuple(_control_members(deb))
    paragraph = next((m.content.decode() for m in members if m.name == "control"), "")
    if not paragraph:
        raise InvalidLock(
            f"{artifact.filename} is not a Debian package", why="it has no control file"
        )
    found = Deb822(paragraph)
    name, version, architecture = (found.get(k, "") for k in ("Package", "Version", "Architecture"))
    if (name, version) != (artifact.name, artifact.version) or not architecture:
        raise InvalidLock(
            f"{artifact.filename} is {name} {version} for {architecture or 'no architecture'},"
            f" locked as {artifact.name} {artifact.version}"
        )
    return ControlArchive(
        name=artifact.name,
        multi_arch_same=found.get("Multi-Arch") == "same",
        architecture=architecture,
        paragraph=paragraph,
        members=members,
    )


def _control_members(deb: DebFile) -> Iterator[ControlMember]:
    with deb.control.tgz() as archive:
        for info in archive:
            content = archive.extractfile(info) if info.isreg() else None
            if content is not None:
                name = dpkg.file_name(checked(info.name))
                executable = bool(info.mode & 0o100)
                yield ControlMember(name=name, content=content.read(), executable=executable)


def unpack(writer: Sink, packages: Iterable[tuple[Artifact, Path]]) -> None:
    """Add packages to a layer: their files, and dpkg's notes on each; nothing is run.

    What two packages have in common is added once: directories, for a system has no package that
    brings another one's files (``bootstrap`` makes sure of it). Raises ``InvalidLock`` if a file
    is not the package that it is locked as, or none.
    """
    notes: list[ControlMember] = []
    for link in _MERGED:
        writer.symlink(link, f"usr/{link}")
    for artifact, path in packages:
        with _opened(artifact, path) as deb:
            package = _package(artifact, deb)
            with deb.data.tgz() as archive:
                notes += package.info(tuple(_files(writer, archive, package)))
    for note in notes:
        writer.data(f"{INFO}/{note.name}", note.content, executable=note.executable)


def _files(
    writer: Sink, archive: tarfile.TarFile, package: ControlArchive
) -> Iterator[tuple[str, str]]:
    """Add the files of one package; yield their paths as the package has them.

    With each comes its MD5 if it is a file that was added, and the package does not say.
    """
    sums: dict[str, str] = {}
    for info in archive:
        original = checked(info.name)
        name = _in_usr(original, is_directory=info.isdir())
        if name in ("", *_MERGED) or name in writer or _excluded(name):
            yield original, ""
            continue
        # Of a directory that is not kept, something may be; others may come later.
        writer.directory(name.rpartition("/")[0])
        info.name = name
        if info.islnk():
            info.linkname = _in_usr(checked(info.linkname), is_directory=False)
            sums[name] = sums.get(info.linkname, "")
        content = archive.extractfile(info) if info.isreg() else None
        if content is None or package.has("md5sums"):
            writer.member(info, cast("BinaryIO | None", content))
        else:
            hashed = _Hashed(cast("BinaryIO", content))
            writer.member(info, cast("BinaryIO", hashed))
            sums[name] = hashed.md5.hexdigest()
        yield original, sums.get(name, "")


class _Hashed:
    """A stream that hashes what is read, as dpkg does."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.md5 = hashlib.md5(usedforsecurity=False)

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self.md5.update(chunk)
        return chunk


def _in_usr(name: str, *, is_directory: bool) -> str:
    top, slash, _ = name.partition("/")
    return f"usr/{name}" if top in _MERGED and (slash or is_directory) else name


def _excluded(name: str) -> bool:
    kept = name.startswith(_DOC) and name.endswith(_COPYRIGHT)
    return name.startswith(EXCLUDED) and not kept


def is_kept(name: str) -> bool:
    """Return whether a path that configuring has written belongs into an image."""
    return not name.startswith(_LEFT_OUT) and name not in _NOT_KEPT


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfiguredFiles:
    """What configuring packages has changed: a tar archive, and the paths that are gone, sorted."""

    archive: Path
    removed: tuple[str, ...]


def add_changes(writer: LayerWriter, archive: Path, removed: Iterable[str]) -> None:
    """Add what configuring packages has changed: a tar archive of it, and paths that are gone.

    The archive has the directories that these were in, too, as they are. Raises
    ``MlruntimeError`` when it cannot be read, when it has a path that no image may have, and when
    Java's trust store is not what can be normalised.
    """
    removed = tuple(removed)
    needed = {str(parent) for path in removed for parent in PurePosixPath(path).parents}
    try:
        with tarfile.open(archive) as tar:
            for info in tar:
                name = info.name
                if is_kept(name) or (name not in _NOT_KEPT and name in needed):
                    _add_change(writer, tar, info)
        for path in removed:
            writer.removal(path)
    except (OSError, *_UNREADABLE) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the host's, not the archive's
        raise MlruntimeError(
            "what configuring Debian's packages has changed cannot be put into an image",
            why=f"{type(error).__name__}: {error}",
        ) from None


def _add_change(writer: LayerWriter, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
    content = tar.extractfile(info) if info.isreg() else None
    if info.name == CACERTS and content is not None:
        store = _keystore(content.read())
        info.size, content = len(store), cast("tarfile.ExFileObject", io.BytesIO(store))
    writer.member(info, cast("BinaryIO | None", content))


def _keystore(data: bytes) -> bytes:
    try:
        return keystore.normalised(data)
    except (ValueError, struct.error) as error:
        raise MlruntimeError(
            "Java's trust store cannot be normalised", where=CACERTS, why=str(error)
        ) from None
