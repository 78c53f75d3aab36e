"""Whose each file of an image is: a package's, or ours. A file that is nobody's is an error.

The layers tell: the plan says whose packages each holds, and these say which files are theirs.
"""

import tarfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from isal import igzip

from mlruntime.ecosystems.model import Bundled
from mlruntime.ecosystems.owners import Owners
from mlruntime.ecosystems.registered import ECOSYSTEMS, ecosystem_of
from mlruntime.errors import Damaged
from mlruntime.image.image import Blobs, Image, ImageLayer, blob_file
from mlruntime.image.plan import Plan
from mlruntime.image.sources.model import Content
from mlruntime.release.inside import NOTHING_INSIDE, Inside

_Note = Callable[[str, Callable[[], bytes]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """How many files each owner has, the files that have none, and licences by package.

    ``inside`` is what else was read in them.

    Owners are packages, like ``deb:NAME`` and ``pypi:NAME``, and ``mlruntime``.
    """

    files: Mapping[str, int]
    nobody: tuple[str, ...]
    licences: Mapping[str, tuple[str, ...]]
    inside: Inside = NOTHING_INSIDE

    @property
    def total(self) -> int:
        """Return the number of files."""
        return sum(self.files.values()) + len(self.nobody)


class _Known:
    """The owners that an image's layers need, one of each ecosystem for all of them."""

    def __init__(self) -> None:
        self._of: dict[str, Owners] = {}

    def about(self, content: Content) -> list[Owners]:
        """Return those who know the packages in a layer."""
        packages = (*content.artifacts, *(wheel.released for wheel in content.native))
        ecosystems = {one.origin: one for one in map(ecosystem_of, packages)}
        return [
            self._of.setdefault(origin, ecosystem.owners())
            for origin, ecosystem in sorted(ecosystems.items())
        ]

    @property
    def licences(self) -> dict[str, tuple[str, ...]]:
        return {name: found for one in self._of.values() for name, found in one.licences.items()}

    @property
    def sources(self) -> dict[str, tuple[str, str]]:
        return {name: found for one in self._of.values() for name, found in one.sources.items()}


class _Bundled:
    """Packages in files of others."""

    def __init__(self) -> None:
        self.named: list[Bundled] = []
        self.unnamed: list[str] = []

    def note(self, path: str, content: Callable[[], bytes]) -> None:
        for ecosystem in ECOSYSTEMS.values():
            found = ecosystem.bundled(path, content)
            self.named += found or ()
            if found == ():
                self.unnamed.append(path)


def attribute(image: Image, plan: Plan, blobs: Blobs) -> Attribution:
    """Read every layer and say whose its files are; directories are nobody's business."""
    contents = {layer.name: layer.content for layer in plan.layers}
    known, bundled = _Known(), _Bundled()
    seen: list[tuple[Content, list[Owners], str]] = []
    for layer in image.layers:
        content = contents[layer.name]
        owners = known.about(content)
        for path in _files(layer, blobs, owners, bundled.note):
            seen.append((content, owners, path))
    counted: Counter[str] = Counter()
    nobody = []
    for content, owners, path in seen:
        told = (one.owner(path) for one in owners)
        owner = content.owner or next(filter(None, told), None)
        if owner is None:
            nobody.append(path)
        else:
            counted[owner] += 1
    return Attribution(
        files=dict(sorted(counted.items())),
        nobody=tuple(nobody),
        licences=known.licences,
        inside=Inside(
            sources=known.sources,
            bundled=tuple(bundled.named),
            unnamed=tuple(sorted(bundled.unnamed)),
        ),
    )


def _files(layer: ImageLayer, blobs: Blobs, owners: list[Owners], note: _Note) -> list[str]:
    """Return the paths of a layer's files, each of which the owners and ``note`` have seen."""
    path = blob_file(blobs, layer.blob.digest)
    try:
        # tarfile's own reader stops after the first member of a gzip file.
        with (
            igzip.open(path, "rb") as plain,  # type: ignore[no-untyped-call]
            tarfile.open(fileobj=plain, mode="r|") as archive,
        ):
            return noted(archive, owners, note)
    except (tarfile.TarError, EOFError, OSError) as problem:
        raise Damaged(f"layer {layer.name!r} cannot be read", why=str(problem)) from None


def noted(
    archive: tarfile.TarFile,
    owners: list[Owners],
    note: _Note = lambda _path, _content: None,
) -> list[str]:
    """Show the files of an archive to owners, and return all paths but those of directories.

    ``note`` is shown them, too, and may read those that no owner does.
    """
    found = []
    for member in archive:
        if member.isdir():
            continue
        path = member.name.removeprefix("./").lstrip("/")
        found.append(path)
        for one in owners if member.isfile() else ():
            one.note(path, _reader(archive, member))
        if member.isfile():
            note(path, partial(_bytes, archive, member))
    return found


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file else b""


def _reader(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], str]:
    def read() -> str:
        file = archive.extractfile(member)
        return file.read().decode("utf-8", "replace") if file else ""

    return read
