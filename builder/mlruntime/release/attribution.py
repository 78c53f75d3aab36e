"""Whose each file of an image is: a package's, or ours. A file that is nobody's is an error.

The layers tell: dpkg's lists name a Debian package's files, ``RECORD`` those of a Python package,
and the plan says which layers hold jars, our own files, and what configuring has changed.
"""

import csv
import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, Literal

from debian.deb822 import Deb822
from isal import igzip

from mlruntime.ecosystems.debian import ORIGIN as DEBIAN
from mlruntime.errors import Damaged
from mlruntime.image.image import Blobs, Image, blob_file
from mlruntime.image.plan import Plan
from mlruntime.image.sources.conda import CondaPackages
from mlruntime.image.sources.debian import ConfiguredPackages, DebianPackages
from mlruntime.image.sources.jars import Jars
from mlruntime.image.sources.model import Content
from mlruntime.image.sources.python import PythonPackages
from mlruntime.image.sources.python_files import ApartFiles
from mlruntime.release.licences import of_copyright, of_wheel

Kind = Literal["debian", "configured", "python", "conda", "jars", "ours"]
OURS: Final = "mlruntime"
CONFIGURED: Final = "what configuring the Debian packages made"
_LIST: Final = re.compile(r"var/lib/dpkg/info/([^/:]+)(:[a-z0-9]+)?\.list")
_OWN: Final = re.compile(r"var/lib/dpkg/info/([^/:]+)(:[a-z0-9]+)?\.[a-z0-9.-]+")
_DIST_INFO: Final = re.compile(r"(?P<site>.*)/(?P<name>[^/]+)-[^-/]+\.dist-info/(RECORD|METADATA)")
_CONDA_META: Final = re.compile(r"(?P<prefix>.+)/conda-meta/[^/]+\.json")
_COPYRIGHT: Final = re.compile(r"usr/share/doc/([^/]+)/copyright")
_STATUS: Final = "var/lib/dpkg/status"
_BYTECODE: Final = re.compile(r"(.*/)__pycache__/([^/]+)\.cpython-\d+(\.opt-\d)?\.pyc")


def kind_of(content: Content) -> Kind:
    """Return what a planned layer holds."""
    if isinstance(content, DebianPackages):
        return "debian"
    if isinstance(content, ConfiguredPackages):
        return "configured"
    if isinstance(content, PythonPackages | ApartFiles):
        return "python"
    if isinstance(content, CondaPackages):
        return "conda"
    return "jars" if isinstance(content, Jars) else "ours"


@dataclass(slots=True)
class SeenFiles:
    """What the layers hold: files by layer kind, and who says that they are theirs."""

    files: list[tuple[Kind, str]] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)
    licences: dict[str, tuple[str, ...]] = field(default_factory=dict)
    copyrights: set[str] = field(default_factory=set)
    sources: dict[str, str] = field(default_factory=dict)

    def licences_of_siblings(self) -> dict[str, tuple[str, ...]]:
        """Return the licences of Debian packages that keep no copyright file of their own.

        Their directory is then a link to that of another package of the same source (Debian
        Policy, 12.5), and images do not have these links.
        """
        by_source: dict[str, tuple[str, ...]] = {}
        for name in sorted(self.copyrights):
            by_source.setdefault(self.sources.get(name, name), self.licences.get(f"deb:{name}", ()))
        return {
            f"deb:{name}": by_source[source]
            for name, source in self.sources.items()
            if name not in self.copyrights and by_source.get(source)
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """How many files each owner has, the files that have none, and licences by package.

    Owners are ``deb:NAME``, ``pypi:NAME``, ``jar:FILE``, ``mlruntime``.
    """

    files: Mapping[str, int]
    nobody: tuple[str, ...]
    licences: Mapping[str, tuple[str, ...]]

    @property
    def total(self) -> int:
        """Return the number of files."""
        return sum(self.files.values()) + len(self.nobody)


def attribute(image: Image, plan: Plan, blobs: Blobs) -> Attribution:
    """Read every layer and say whose its files are; directories are nobody's business."""
    kinds = {layer.name: kind_of(layer.content) for layer in plan.layers}
    seen = SeenFiles()
    for layer in image.layers:
        path = blob_file(blobs, layer.blob.digest)
        try:
            # tarfile's own reader stops after the first member of a gzip file.
            with (
                igzip.open(path, "rb") as plain,  # type: ignore[no-untyped-call]
                tarfile.open(fileobj=plain, mode="r|") as archive,
            ):
                read_layer(archive, kinds[layer.name], seen)
        except (tarfile.TarError, EOFError, OSError) as problem:
            raise Damaged(f"layer {layer.name!r} cannot be read", why=str(problem)) from None
    counted: Counter[str] = Counter()
    nobody = []
    for kind, name in seen.files:
        owner = _owner(kind, name, seen)
        if owner is None:
            nobody.append(name)
        else:
            counted[owner] += 1
    return Attribution(
        files=dict(sorted(counted.items())),
        nobody=tuple(nobody),
        licences=seen.licences | seen.licences_of_siblings(),
    )


def read_layer(archive: tarfile.TarFile, kind: Kind, seen: SeenFiles) -> None:
    """Note what one layer holds."""
    for member in archive:
        if member.isdir():
            continue
        name = member.name.removeprefix("./").lstrip("/")
        seen.files.append((kind, name))
        if kind == DEBIAN and (found := _LIST.fullmatch(name)):
            for line in _text(archive, member).splitlines():
                seen.owners.setdefault(_merged(line.lstrip("/")), f"deb:{found[1]}")
        elif kind in (DEBIAN, "configured") and name == _STATUS:
            for paragraph in Deb822.iter_paragraphs(_text(archive, member), use_apt_pkg=False):
                package = paragraph.get("Package", "")
                source = paragraph.get("Source", package).partition(" ")[0]
                seen.sources[package] = source
        elif kind == DEBIAN and member.isfile() and (found := _COPYRIGHT.fullmatch(name)):
            seen.copyrights.add(found[1])
            if licences := of_copyright(_text(archive, member)):
                seen.licences[f"deb:{found[1]}"] = licences
        elif kind == "conda" and (found := _CONDA_META.fullmatch(name)):
            _conda(_text(archive, member), found, seen)
        elif kind == "python" and (found := _DIST_INFO.fullmatch(name)):
            _python(_text(archive, member), found, seen)


def _python(text: str, found: re.Match[str], seen: SeenFiles) -> None:
    owner = f"pypi:{found['name'].lower().replace('_', '-').replace('.', '-')}"
    seen.owners[found[0]] = owner
    if found[0].endswith("METADATA"):
        if licences := of_wheel(text):
            seen.licences[owner] = licences
        return
    for row in csv.reader(io.StringIO(text)):
        if row:
            seen.owners[_joined(found["site"], row[0])] = owner


def _conda(text: str, found: re.Match[str], seen: SeenFiles) -> None:
    note = json.loads(text)
    owner = f"conda:{note['name']}"
    seen.owners[found[0]] = owner
    if licence := note.get("license"):
        seen.licences[owner] = (str(licence),)
    for path in note["files"]:
        seen.owners.setdefault(f"{found['prefix']}/{path}", owner)


def _joined(site: str, path: str) -> str:
    parts: list[str] = []
    for part in PurePosixPath(site, path).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts).lstrip("/")


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    return file.read().decode("utf-8", "replace") if file else ""


def _merged(path: str) -> str:
    """Return a path as it is where ``/bin``, ``/lib`` and ``/sbin`` are links into ``/usr``."""
    top = path.partition("/")[0]
    return f"usr/{path}" if top in ("bin", "lib", "lib32", "lib64", "libx32", "sbin") else path


def _owner(kind: Kind, name: str, seen: SeenFiles) -> str | None:
    if kind == "ours":
        return OURS
    if kind == "configured":
        return CONFIGURED
    if kind == "jars":
        return f"jar:{PurePosixPath(name).name}"
    if kind == DEBIAN:
        own = _OWN.fullmatch(name)
        found = seen.owners.get(_merged(name))
        return found or (f"deb:{own[1]}" if own else None) or _dpkg(name)
    return next(filter(None, (seen.owners.get(path) for path in _sources(name))), None)


def _dpkg(name: str) -> str | None:
    """Return who keeps dpkg's own database, which we write as dpkg does."""
    return "deb:dpkg" if name.startswith("var/lib/dpkg/") else None


def _sources(name: str) -> Iterator[str]:
    """Yield a file's path, and that of the module whose bytecode it is."""
    yield name
    if found := _BYTECODE.fullmatch(name):
        yield f"{found[1]}{found[2]}.py"
