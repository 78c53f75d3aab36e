"""Layers of files that are at hand: from a folder, our own library, the host contract."""

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath

from mlruntime.documents.schema import Text
from mlruntime.errors import InvalidDefinition
from mlruntime.image.sources.model import (
    OURS,
    STACK_FILE,
    Content,
    LayerSource,
    PlannedLayer,
    Planning,
    Supplies,
    layer_key,
)
from mlruntime.image.templates import render
from mlruntime.layers.paths import UnsafePath, checked
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.contract import PATH as CONTRACT_PATH

Links = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file laid into the image as it is."""

    path: str
    content: bytes
    executable: bool = False

    def write(self, layer: LayerWriter) -> None:
        """Add it to a layer."""
        layer.data(self.path, self.content, executable=self.executable)


@dataclass(frozen=True, kw_only=True, slots=True)
class LiteralFiles(Content):
    """Files, symbolic links (path, target) and empty directories, as they are.

    ``shared`` are directories that are open to the group root.
    """

    files: tuple[File, ...]
    links: Links = ()
    directories: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Return whether there is nothing of it; directories alone are no reason for a layer."""
        return not (self.files or self.links)

    @property
    def owner(self) -> str:
        """Return that we have them."""
        return OURS

    @property
    def key(self) -> str:
        """Return the key of a layer of this content."""
        links, directories = [list(link) for link in self.links], list(self.directories)
        content = [file_digests(self.files), links, directories]
        if self.shared:
            content.append(list(self.shared))
        return layer_key("files", content)

    def layer(self, name: str) -> PlannedLayer:
        """Return a layer of this content; a path that no image may have is an error."""
        paths = (*(f.path for f in self.files), *(p for p, _ in self.links), *self.directories)
        for path in (*paths, *self.shared):
            try:
                checked(path)
            except UnsafePath as error:
                raise InvalidDefinition(f"layer {name!r}: {error}", where=STACK_FILE) from None
        return PlannedLayer(name=name, key=self.key, content=self)

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        """Add all of it."""
        del supplies
        for directory in self.directories:
            layer.directory(directory)
        for directory in self.shared:
            layer.shared_directory(directory)
        for file in self.files:
            file.write(layer)
        for link, target in self.links:
            layer.symlink(link, target)


class FilesSource(LayerSource, frozen=True, kw_only=True, tag="files"):
    """A folder of ``images/rootfs`` with symbolic links and empty directories.

    ``shared`` are directories of every user of the group root. Files whose names end in ``.j2``
    are templates; ``executable`` are patterns of paths.
    """

    files: Text
    links: dict[str, Text] | None = None
    directories: list[Text] | None = None
    executable: list[Text] | None = None
    shared: list[Text] | None = None

    def planned(self, planning: Planning) -> PlannedLayer:
        """Return the layer, its templates rendered."""
        folder = f"rootfs/{self.files}"
        executable = tuple(planning.render(pattern) for pattern in self.executable or ())
        found = []
        for path, content in planning.folder(self.name, folder):
            target = path
            if path.endswith(".j2"):
                target = path.removesuffix(".j2")
                text = _text(content, f"images/{folder}/{path}")
                content = render(text, planning.known, file=f"images/{folder}/{path}").encode()
            matches = any(PurePosixPath(target).match(pattern) for pattern in executable)
            found.append(File(path=target, content=content, executable=matches))
        literal = LiteralFiles(
            files=tuple(found),
            links=tuple(
                (planning.render(a), planning.render(b)) for a, b in (self.links or {}).items()
            ),
            directories=tuple(planning.render(path) for path in self.directories or ()),
            shared=tuple(planning.render(path) for path in self.shared or ()),
        )
        return literal.layer(self.name)


class LibrarySource(LayerSource, frozen=True, kw_only=True, tag="library"):
    """A Python library of ``images/``."""

    library: Text

    def planned(self, planning: Planning) -> PlannedLayer:
        """Return the layer: the library as if a wheel of it had been installed."""
        site = planning.site_packages
        found = tuple(
            File(path=f"{site}/{path}", content=content)
            for path, content in planning.folder(self.name, self.library)
        )
        info = dist_info(self.library, planning.version, site, found)
        return LiteralFiles(files=(*found, *info)).layer(self.name)


class ContractSource(LayerSource, frozen=True, kw_only=True, tag="contract"):
    """The variant's host contract, as a file."""

    def planned(self, planning: Planning) -> PlannedLayer:
        """Return the layer; it is empty for a variant that asks for nothing."""
        contract = planning.variant.contract
        files = (File(path=CONTRACT_PATH, content=contract.to_json().encode()),) if contract else ()
        return LiteralFiles(files=files).layer(self.name)


def file_digests(files: tuple[File, ...]) -> list[list[str | bool]]:
    """Return what of files enters a key."""
    return [[f.path, f.executable, hashlib.sha256(f.content).hexdigest()] for f in files]


def dist_info(
    name: str, version: str, site: str, files: tuple[File, ...], more: str = ""
) -> list[File]:
    """Return the metadata that makes a library a distribution (``pip list`` shows it).

    ``more`` are further lines of its ``METADATA``.
    """
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    texts = {
        "INSTALLER": "mlruntime\n",
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: mlruntime\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    paths = [f.path.removeprefix(f"{site}/") for f in files]
    paths += [f"{folder}/{file}" for file in (*texts, "RECORD")]
    texts["RECORD"] = "".join(f"{path},,\n" for path in sorted(paths))
    return [
        File(path=f"{site}/{folder}/{file}", content=text.encode()) for file, text in texts.items()
    ]


def _text(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidDefinition("not UTF-8 text", where=file, why=str(error)) from None
