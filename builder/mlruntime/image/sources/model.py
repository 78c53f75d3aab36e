"""What a source of layers is: what layers.yaml says of it, what it plans, how that is written."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Protocol

from mlruntime.documents.reading import Location, canonical_json
from mlruntime.documents.schema import Form, Text
from mlruntime.ecosystems.debian.packages import ConfiguredFiles
from mlruntime.ecosystems.place import Place
from mlruntime.ecosystems.pypi.stored import StoredWheel
from mlruntime.errors import InvalidDefinition
from mlruntime.image.templates import render
from mlruntime.layers.gzipped import COMPRESSOR
from mlruntime.layers.sink import Sink
from mlruntime.layers.writer import WRITER, LayerWriter
from mlruntime.lock.model import CORE, Lock, Part, Variant
from mlruntime.lock.packages import Artifact, NativeWheel

STACK_FILE: Final = "images/layers.yaml"
EVERYTHING_ELSE: Final = "*"
# Who has the files that are of no package.
OURS: Final = "mlruntime"


class Supplies(Protocol):
    """What a build has at hand when a layer is written."""

    @property
    def place(self) -> Place:
        """Return the image's Python environment."""

    def file(self, artifact: Artifact) -> Path:
        """Return the file of an artifact that has been fetched."""

    def intact(self, artifact: Artifact) -> Path:
        """Return such a file, its hash computed once more: for what is read without noticing."""

    def wheel(self, native: NativeWheel) -> StoredWheel:
        """Return a wheel that was built here."""

    def bytecode(self, sha256: str) -> Path:
        """Return the archive with a wheel's bytecode."""

    def install(self, origin: str, sink: Sink, packages: tuple[Artifact, ...]) -> None:
        """Put packages into a layer as their ecosystem does it, their hashes computed once more."""

    def configured(self, packages: tuple[Artifact, ...]) -> AbstractContextManager[ConfiguredFiles]:
        """Yield what configuring these Debian packages changes in the layers below."""


class Content:
    """What a layer is made of, and how it is written.

    Each source of layers has a class of its own, which says what differs from what is here.
    """

    __slots__ = ()

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Return the locked files that it is made of; those of native builds are not among them."""
        return ()

    @property
    def native(self) -> tuple[NativeWheel, ...]:
        """Return the wheels in it that are built here."""
        return ()

    @property
    def empty(self) -> bool:
        """Return whether there would be nothing in the layer."""
        raise NotImplementedError

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        """Add everything to a layer."""
        raise NotImplementedError

    @property
    def is_system(self) -> bool:
        """Return whether it is a part of the operating system that everything else runs in."""
        return False

    @property
    def configures(self) -> bool:
        """Return whether it is what configuring the system's packages below changes."""
        return False

    def has_interpreter(self, python: str) -> bool:
        """Return whether the image's own Python, of this minor version, is in the layer."""
        del python
        return False

    @property
    def in_site_packages(self) -> bool:
        """Return whether it puts whole wheels, with bytecode, where other layers do, too."""
        return False

    def all_wheels(self, supplies: Supplies) -> list[StoredWheel]:
        """Return the wheels whose bytecode it has, as they are in the store, by file name."""
        del supplies
        return []

    @property
    def is_apart(self) -> bool:
        """Return whether its files are of packages that another layer of the image installs."""
        return False

    def has(self, path: str) -> bool:
        """Return whether it has a file of its packages, by its path as the package is installed."""
        del path
        return True

    @property
    def incomplete(self) -> Mapping[str, str]:
        """Return the packages, by name, that it lacks files of: which, and why."""
        return {}

    def built_on(
        self, layer: "PlannedLayer", common: frozenset[str], link_against: frozenset[str]
    ) -> tuple["PlannedLayer", ...]:
        """Return the layers that native wheels are compiled on in place of ``layer``.

        That is the layer itself, none, or the layer and another one with the files that it lacks.
        ``common`` are the sha256 of the wheels that all variants have, ``link_against`` of those
        that the wheel is linked with.
        """
        del common, link_against
        return (layer,)

    @property
    def owner(self) -> str | None:
        """Return who has all of its files, ``None`` if its packages tell whose they are."""
        return None

    def for_dockerfile(self) -> Iterator[tuple[str, str]]:
        """Yield what ``Dockerfile.j2`` installs in its stead: (the template's list, an entry)."""
        yield from ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Packages(Content):
    """Content that is packages of a registry and nothing else; how it is written is its own."""

    packages: tuple[Artifact, ...]

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Return the packages."""
        return self.packages

    @property
    def empty(self) -> bool:
        """Return whether there are none."""
        return not self.packages


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedLayer:
    """One layer: what it is made of, the key that stands for its bytes, and whose it is."""

    name: str
    key: str
    content: Content
    flavour: str = CORE


class LayerSource(Form, frozen=True, kw_only=True, tag_field="source"):
    """One layer of ``layers.yaml``, whatever its source: a form of its own for each of them.

    Strings may be Jinja2 templates. A layer of a ``flavour`` is in the images of that flavour and
    of those above it.
    """

    name: Text
    flavour: Text | None = None

    @property
    def of(self) -> str:
        """Return the flavour that it is a layer of, and those above."""
        return self.flavour or CORE

    @property
    def parts(self) -> tuple["Apart", ...]:
        """Return the files that it takes from layers with whole Python packages."""
        return ()

    @classmethod
    def check_stack(cls, layers: tuple["LayerSource", ...], place: Location) -> None:
        """Raise for a stack, at ``place`` in ``layers.yaml``, that layers of this source break."""

    def check(self, planning: "Planning", lock: Lock) -> None:
        """Raise ``InvalidDefinition`` if what it names is not locked.

        ``lock`` has all flavours of the image, also those above the layer's own.
        """

    def planned(self, planning: "Planning") -> PlannedLayer:
        """Return the layer, which may be empty."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, slots=True)
class Apart:
    """Files of a Python package that have a layer of their own.

    ``files`` are patterns below site-packages, ``but`` what they match and yet is no part of it;
    ``*`` matches ``/``, too. Modules stay with the package: their bytecode is made there.
    """

    package: str
    files: tuple[str, ...]
    but: tuple[str, ...] = ()

    def has(self, path: str) -> bool:
        """Return whether a path, as ``installed_as`` returns it, is one of these files."""
        wanted = any(is_like(path, pattern, self.but) for pattern in self.files)
        return wanted and not path.endswith(".py")


def is_like(path: str, files: str, but: tuple[str, ...]) -> bool:
    """Return whether a file of a wheel's packages, no script or metadata, is like ``files``."""
    top = path.partition("/")[0]
    return (
        fnmatchcase(path, files)
        and not top.endswith((".data", ".dist-info"))
        and not any(fnmatchcase(path, kept) for kept in but)
    )


class SharedOut(LayerSource, frozen=True, kw_only=True):
    """A source whose layers share out the packages of one ecosystem by name or pattern.

    ``*`` alone stands for all that no other layer of that source names.
    """

    packages: list[Text]

    @staticmethod
    def canonical(name: str) -> str:
        """Return a package's name as patterns are compared with it."""
        return name


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """Digests of our own recipes: an edit of one must change the keys of what it makes.

    ``configuring_more`` is of packages on top of a system that is configured; ``native`` returns
    the one that a wheel is built by, ``installing`` that of an ecosystem without a source of its
    own.
    """

    unpacking: str
    configuring: str
    configuring_more: str
    bytecode: str
    native: Callable[[NativeWheel], str]
    installing: Callable[[str], str] = lambda _: "1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Planning:
    """What sources plan their layers from, those of one flavour.

    ``lock`` is that flavour's, ``part`` what it has beyond those below it; ``files`` are the
    definitions' ``images/`` folder, by relative path; ``known`` the variables of templates;
    ``version`` this tool's; ``patterns`` the packages that layers name, for each type of source:
    (layer, pattern); ``apart`` the files of Python packages that have layers of their own.
    """

    lock: Lock
    variant: Variant
    part: Part
    patterns: Mapping[type[SharedOut], list[tuple[str, str]]]
    files: Mapping[str, bytes]
    known: dict[str, Any]
    tools: Tools
    version: str
    apart: tuple[Apart, ...] = ()

    @property
    def python(self) -> str:
        """Return the interpreter's minor version."""
        return str(self.known["python"]["minor"])

    @property
    def site_packages(self) -> str:
        """Return the directory of the image's Python packages, below its root."""
        return str(self.known["site_packages"])

    def render(self, text: str) -> str:
        """Return a text of ``layers.yaml`` with its variables filled in."""
        return render(text, self.known, file=STACK_FILE)

    def folder(self, layer: str, folder: str) -> list[tuple[str, bytes]]:
        """Return the files below a folder of ``images/``: (path in it, content)."""
        prefix = f"{folder}/"
        found = [(p.removeprefix(prefix), c) for p, c in self.files.items() if p.startswith(prefix)]
        if not found:
            raise InvalidDefinition(
                f"layer {layer!r}: there is no folder images/{prefix}", where=STACK_FILE
            )
        return sorted(found)

    def chosen(self, source: SharedOut) -> Callable[[str], bool]:
        """Return whether a package, by name, is in a layer; the layers of a source share them."""
        patterns = self.patterns[type(source)]

        def here(name: str) -> bool:
            name = source.canonical(name)
            owners = sorted({other for other, pattern in patterns if fnmatchcase(name, pattern)})
            if len(owners) > 1:
                raise InvalidDefinition(
                    f"package {name!r} is in two layers, {' and '.join(owners)}", where=STACK_FILE
                )
            return source.name in owners or (not owners and EVERYTHING_ELSE in source.packages)

        return here


def layer_key(source: str, content: Any) -> str:
    """Return the key (hex) of a layer made from ``content``, a JSON value."""
    recipe = {"source": source, "writer": WRITER, "compressor": COMPRESSOR, "content": content}
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()
