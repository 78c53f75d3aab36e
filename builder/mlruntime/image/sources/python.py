"""Layers of Python packages: wheels with their bytecode, and metadata for dummy packages."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, ClassVar

from packaging.utils import canonicalize_name

from mlruntime.documents.schema import Form, Text
from mlruntime.ecosystems.place import LIBRARIES
from mlruntime.ecosystems.pypi.site import Collision, Site
from mlruntime.ecosystems.pypi.stored import StoredWheel
from mlruntime.errors import InvalidDefinition
from mlruntime.image.sources.literal import File, dist_info, file_digests
from mlruntime.image.sources.model import (
    STACK_FILE,
    PlannedLayer,
    Planning,
    SharedOut,
    Supplies,
    layer_key,
)
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact, DummyPackage, NativeWheel, set_digest


class LeftOut(Form, frozen=True, kw_only=True):
    """Files of a layer's wheels that images do not have, and why.

    ``files`` is a pattern below site-packages, ``but`` what it matches and yet is kept; ``*``
    matches ``/``, too.
    """

    files: Text
    why: Text
    but: tuple[Text, ...] = ()

    def has(self, path: str) -> bool:
        """Return whether a path, as ``installed_as`` returns it, is one of these files.

        They are of the wheel's packages, not scripts or metadata.
        """
        top = path.partition("/")[0]
        return (
            fnmatchcase(path, self.files)
            and not top.endswith((".data", ".dist-info"))
            and not any(fnmatchcase(path, kept) for kept in self.but)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOutFiles:
    """What a layer of wheels leaves out: put back where something is compiled against them."""

    wheels: tuple[Artifact, ...]
    left_out: tuple[LeftOut, ...]
    native: ClassVar[tuple[NativeWheel, ...]] = ()
    empty: ClassVar[bool] = False

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Return the wheels."""
        return self.wheels

    def layer(self, name: str) -> PlannedLayer:
        """Return the layer with these files, above the layer ``name``."""
        key = [
            [[a.name, a.version, a.filename, a.sha256] for a in self.wheels],
            [[x.files, x.but] for x in self.left_out],
        ]
        return PlannedLayer(name=f"{name}, left out", key=layer_key("left-out", key), content=self)

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        """Add the files."""
        from mlruntime.ecosystems.pypi.wheel import add_files

        site = Site(supplies.place)
        for wheel in sorted(self.wheels, key=lambda a: a.filename):
            wanted = partial(_left_out, self.left_out)
            add_files(layer, supplies.file(wheel), wheel.filename, site, wanted)


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonPackages:
    """Wheels, those that are built here (``native``), and ``files`` beside them.

    Shared libraries in directories like ``linked`` (a pattern below site-packages) get symbolic
    links where the dynamic linker looks by itself. So does the one library that is like a pattern,
    under another name (``called``), for wheels that expect it to be the system's.
    """

    wheels: tuple[Artifact, ...]
    native: tuple[NativeWheel, ...] = ()
    files: tuple[File, ...] = ()
    linked: str = ""
    called: tuple[tuple[str, str], ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Return the wheels that are fetched."""
        return self.wheels

    @property
    def empty(self) -> bool:
        """Return whether there is neither a wheel nor a file."""
        return not (self.wheels or self.native or self.files)

    def has(self, path: str) -> bool:
        """Return whether a file of a wheel, by its path below site-packages, is installed."""
        return not _left_out(self.left_out, path)

    def all_wheels(self, supplies: Supplies) -> list[StoredWheel]:
        """Return all wheels as they are in the store, sorted by file name."""
        found = [
            StoredWheel(filename=a.filename, sha256=a.sha256, path=supplies.file(a))
            for a in self.wheels
        ]
        found += [supplies.wheel(native) for native in self.native]
        return sorted(found, key=lambda wheel: wheel.filename)

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        """Install the wheels, link their libraries, add the files."""
        # Imported late: planning installs nothing.
        from mlruntime.ecosystems.pypi.wheel import install_wheel

        site = Site(supplies.place)
        for wheel in self.all_wheels(supplies):
            bytecode = supplies.bytecode(wheel.sha256)
            install_wheel(layer, wheel.path, wheel.filename, site, bytecode, self.has)
        for name, path in site.libraries(self.linked):
            layer.symlink(f"{LIBRARIES}/{name}", f"/{path}")
        for name, pattern in self.called:
            layer.symlink(f"{LIBRARIES}/{name}", f"/{_library(site, name, pattern)}")
        for file in self.files:
            file.write(layer)


class PythonSource(SharedOut, frozen=True, kw_only=True, tag="python"):
    """Python packages, by name or pattern."""

    linked: Text | None = None
    called: dict[str, Text] | None = None
    left_out: tuple[LeftOut, ...] = ()

    @staticmethod
    def canonical(name: str) -> str:
        """Return a package's name as patterns are compared with it."""
        return canonicalize_name(name)

    def planned(self, planning: Planning) -> PlannedLayer:
        """Return the layer; the interpreter, for whose bytecode it is, is in its key."""
        here, part = planning.chosen(self), planning.part
        wheels = tuple(a for a in part.python if here(a.name))
        wheels = tuple(sorted(wheels, key=lambda a: a.name))
        native = tuple(n for n in part.native if here(n.name))
        files = tuple(
            file
            for dummy in part.dummy_packages
            if here(dummy.by)
            for file in _dummy_files(dummy, planning.site_packages)
        )
        key: list[Any] = [
            planning.tools.bytecode,
            interpreter_digest(planning.lock, planning.python),
            [[a.name, a.version, a.filename, a.sha256] for a in wheels],
            [[n.name, n.key, planning.tools.native(n)] for n in native],
        ]
        if files:
            key.append(file_digests(files))
        if self.linked:
            key.append(self.linked)
        called = tuple((self.called or {}).items())
        if called:
            key.append([list(pair) for pair in called])
        left_out = self.left_out if wheels else ()
        if left_out:
            key.append({"left-out": [[x.files, x.but] for x in left_out]})
        linked = (self.linked or "") if wheels else ""
        content = PythonPackages(
            wheels=wheels, native=native, files=files, linked=linked, called=called,
            left_out=left_out,
        )  # fmt: skip
        return PlannedLayer(name=self.name, key=layer_key("python", key), content=content)


def _left_out(left_out: tuple[LeftOut, ...], path: str) -> bool:
    return any(one.has(path) for one in left_out)


def _library(site: Site, name: str, pattern: str) -> str:
    try:
        return site.library(pattern)
    except Collision as error:
        raise InvalidDefinition(
            f"{name} cannot be found in the wheels of its layer", where=STACK_FILE, why=str(error)
        ) from None


def _dummy_files(dummy: DummyPackage, site: str) -> list[File]:
    """Return the metadata of a package that has no files: another one is installed for it."""
    more = (
        f"Summary: Stands for {dummy.name}, which {dummy.by} is by another name\n"
        f"Requires-Dist: {dummy.by}=={dummy.version}\n"
    )
    return dist_info(dummy.name, dummy.version, site, (), more)


def interpreter_digest(lock: Lock, python: str) -> str:
    """Return the digest of the packages that make up the image's Python: Debian's, or conda's."""
    prefixes = (f"python{python}", f"libpython{python}")
    conda = tuple(p.artifact for p in lock.conda if p.name == "python")
    return set_digest((*(a for a in lock.os if a.name.startswith(prefixes)), *conda))
