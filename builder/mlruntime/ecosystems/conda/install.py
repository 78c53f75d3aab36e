"""A conda package's files, put into a prefix through a sink; nothing of it is run.

What conda and rattler do when they link a package, but for bytecode, and for link scripts, which
rattler does not run either unless it is told to.
"""

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

from mlruntime.ecosystems.conda import archive
from mlruntime.ecosystems.conda.entry_points import script
from mlruntime.ecosystems.conda.metadata import (
    PYTHON,
    PackageInfo,
    PackagePath,
    package_info,
    record,
)
from mlruntime.ecosystems.conda.prefix import replaced
from mlruntime.ecosystems.place import Place
from mlruntime.layers.paths import UnsafePath, checked
from mlruntime.layers.sink import Sink
from mlruntime.lock.packages import Artifact

# A file with a placeholder is held in memory to replace it; the largest are interpreters.
_PLACEHOLDER_BYTES: Final = 512 << 20
_EXECUTABLE: Final = 0o111


class Prefix:
    """The files of a prefix while packages are installed to it: whose they are."""

    def __init__(self, sink: Sink, place: Place) -> None:
        self._sink = sink
        self.place = place
        self._owners: dict[str, tuple[str, str]] = {}

    def install(self, artifact: Artifact, path: Path) -> None:
        """Add a package; ``InvalidLock`` for one that is broken, or brings what is there already.

        Files that are the same in two packages are there once.
        """
        with archive.readable(artifact.filename):
            _Package(self, self._sink, artifact, path).install()

    def is_new(self, target: str, filename: str, sha256: str) -> bool:
        """Note a file by its content; return whether it has to be written.

        Raises ``FileExistsError`` if another package has it with other content.
        """
        before = self._owners.setdefault(target, (filename, sha256))
        if before == (filename, sha256):
            if target in self._sink:
                raise FileExistsError(f"{target} is there already")
            return True
        if before[1] != sha256:
            raise FileExistsError(f"{target} is also in {before[0]}, with different content")
        return False


class _Package:
    def __init__(self, prefix: Prefix, sink: Sink, artifact: Artifact, path: Path) -> None:
        self._prefix = prefix
        self._place = prefix.place
        self._sink = sink
        self._artifact = artifact
        self._path = path
        self._info: PackageInfo = package_info(archive.info_files(path, artifact.filename))
        self._done: dict[str, str] = {}

    def install(self) -> None:
        left = dict(self._info.paths)
        for member, content in archive.members(self._path, self._artifact.filename):
            path = checked(member.name)
            listed = left.pop(path, None)
            if listed is not None:
                self._put(listed, member, content)
        for path, listed in sorted(left.items()):
            if listed.kind != "directory":
                raise ValueError(f"{path} is listed in info/, and is not there")
            self._sink.directory(self._target(path))
        for line in self._info.entry_points:
            interpreter = f"{self._place.conda_prefix}/bin/python{self._place.python}"
            name, text = script(line, interpreter)
            self._file(self._within(f"bin/{name}"), text, executable=True)
        self._note()

    def _within(self, path: str) -> str:
        return f"{self._place.conda}/{path}"

    def _target(self, path: str) -> str:
        """Return where a file goes: packages without a platform leave Python's folders open."""
        if self._info.noarch == PYTHON:
            top, slash, rest = path.partition("/")
            if top == "site-packages":
                path = f"lib/python{self._place.python}/{path}"
            elif top == "python-scripts":
                path = f"bin{slash}{rest}"
        return self._within(path)

    def _put(self, listed: PackagePath, member: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        target = self._target(listed.path)
        self._done[target] = listed.path
        if member.issym():
            self._symlink(target, member.linkname)
        elif member.islnk():
            self._hard_link(target, checked(member.linkname))
        elif member.isdir():
            self._sink.directory(target)
        elif content is None:
            raise UnsafePath(f"{listed.path}: neither a file nor a directory nor a link")
        else:
            self._content(target, listed, member, content)

    def _content(
        self, target: str, listed: PackagePath, member: tarfile.TarInfo, content: IO[bytes]
    ) -> None:
        if listed.size not in (None, member.size):
            raise ValueError(f"{listed.path} has {member.size} bytes, {listed.size} are listed")
        executable = bool(member.mode & _EXECUTABLE)
        if listed.placeholder:
            if member.size > _PLACEHOLDER_BYTES:
                raise ValueError(f"{listed.path} is too large to have a prefix replaced")
            told = _Told(content, listed)
            text = b"".join(iter(lambda: told.read(1 << 20), b""))
            prefix, binary = self._place.conda_prefix, listed.binary
            self._file(
                target,
                replaced(text, listed.placeholder, prefix, binary=binary),
                executable=executable,
            )
            return
        # Its content is known before it is read only if the package tells.
        known = listed.sha256 or f"{self._artifact.sha256}:{listed.path}"
        if self._prefix.is_new(target, self._artifact.filename, known):
            told = _Told(content, listed)
            self._sink.file(target, told, member.size, executable=executable)  # type: ignore[arg-type]
            told.read(1)

    def _file(self, target: str, content: bytes, *, executable: bool) -> None:
        self._done.setdefault(target, "")
        digest = hashlib.sha256(content).hexdigest()
        if self._prefix.is_new(target, self._artifact.filename, digest):
            self._sink.file(target, io.BytesIO(content), len(content), executable=executable)

    def _symlink(self, target: str, points_to: str) -> None:
        """Add a link within the prefix; one that leaves it is a package's mistake or malice."""
        leads_to = posixpath.normpath(posixpath.join(posixpath.dirname(target), points_to))
        if posixpath.isabs(points_to) or not f"{leads_to}/".startswith(f"{self._place.conda}/"):
            raise UnsafePath(f"{target}: a link that leaves the prefix, to {points_to}")
        if self._prefix.is_new(target, self._artifact.filename, f"-> {points_to}"):
            self._sink.symlink(target, points_to)

    def _hard_link(self, target: str, path: str) -> None:
        original = self._target(path)
        if original not in self._done:
            raise UnsafePath(f"{target}: a hard link to {path}, which is not before it")
        if self._prefix.is_new(target, self._artifact.filename, f"= {original}"):
            link = tarfile.TarInfo(target)
            link.type, link.linkname, link.mode = tarfile.LNKTYPE, original, 0o644
            self._sink.directory(posixpath.dirname(target))
            self._sink.member(link, None)

    def _note(self) -> None:
        """Add the file by which conda's own tools know the package."""
        _, subdir, channel = self._artifact.origin.split(":", 2)
        # A lock names no host: neither does the address of what is from a channel with a name.
        address = channel if "://" in channel else f"channel:///{channel}"
        details: Mapping[str, Any] = {
            "url": f"{address}/{subdir}/{self._artifact.filename}",
            "fn": self._artifact.filename,
            "channel": channel,
            "subdir": subdir,
            "sha256": self._artifact.sha256,
            "size": self._artifact.size,
        }
        files = [target.removeprefix(f"{self._place.conda}/") for target in self._done]
        name = f"conda-meta/{archive.stem(self._artifact.filename)}.json"
        self._file(self._within(name), record(self._info, details, files), executable=False)


class _Told:
    """A file of a package while it is read; at its end it must be what the package says it is."""

    def __init__(self, content: IO[bytes], listed: PackagePath) -> None:
        self._content = content
        self._listed = listed
        self._found = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._content.read(size)
        self._found.update(block)
        told = self._listed.sha256
        if not block and told is not None and told != self._found.hexdigest():
            raise ValueError(f"{self._listed.path} is not the file that info/paths.json tells of")
        return block

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(1 << 20), b"")
