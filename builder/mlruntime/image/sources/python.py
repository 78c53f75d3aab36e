"""Layers of Python packages: wheels with their bytecode, and metadata for dummy packages."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from packaging.utils import canonicalize_name

from mlruntime.documents.schema import Text
from mlruntime.ecosystems.place import LIBRARIES
from mlruntime.ecosystems.pypi.site import Collision, Site
from mlruntime.ecosystems.pypi.stored import StoredWheel
from mlruntime.errors import InvalidDefinition
from mlruntime.image.sources.literal import File, dist_info, file_digests
from mlruntime.image.sources.model import (
    OURS,
    STACK_FILE,
    Apart,
    Content,
    PlannedLayer,
    Planning,
    SharedOut,
    Supplies,
    layer_key,
)
from mlruntime.image.sources.python_files import (
    LeftOut,
    LeftOutFiles,
    any_has,
    is_built_on,
    stored_wheels,
)
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact, DummyPackage, NativeWheel, set_digest


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonPackages(Content):
    """Wheels, those that are built here (``native``), and ``files`` beside them.

    Shared libraries in directories like ``linked`` (a pattern below site-packages) get symbolic
    links where the dynamic linker looks by itself. So does the one library that is like a pattern,
    under another name (``called``), for wheels that expect it to be the system's. ``left_out`` are
    files that the image does not have, ``apart`` those that another of its layers has.
    """

    wheels: tuple[Artifact, ...]
    native: tuple[NativeWheel, ...] = ()
    files: tuple[File, ...] = ()
    linked: str = ""
    called: tuple[tuple[str, str], ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    apart: tuple[Apart, ...] = ()

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
        return not any_has(self.left_out, path)

    def _has(self, elsewhere: Callable[[str], bool], path: str) -> bool:
        """Return the same; refuse what is to be in another layer and in none."""
        has = self.has(path)
        if not has and elsewhere(path):
            raise InvalidDefinition(
                f"{path} is left out, and in a layer of its own",
                where=STACK_FILE,
                why="a pattern of `left-out` and one of a layer with `source: apart` match it",
                hint="name it under `but` of one of them",
            )
        return has

    @property
    def incomplete(self) -> Mapping[str, str]:
        """Return the wheels' names with what is left out of all of them."""
        why = "; ".join(f"{one.files}: {one.why}" for one in self.left_out)
        return {wheel.name: why for wheel in self.wheels} if why else {}

    @property
    def in_site_packages(self) -> bool:
        """Return that it does."""
        return True

    def built_on(
        self, layer: PlannedLayer, common: frozenset[str], link_against: frozenset[str]
    ) -> tuple[PlannedLayer, ...]:
        """Return the layer if native wheels are built on it, and what it leaves out with it."""
        if not is_built_on(self.wheels, common, link_against):
            return ()
        if not self.left_out:
            return (layer,)
        put_back = LeftOutFiles(wheels=self.wheels, left_out=self.left_out)
        return layer, put_back.layer(layer.name)

    @property
    def owner(self) -> str | None:
        """Return us for metadata alone, which no wheel of the layer brings."""
        return None if self.wheels or self.native else OURS

    def for_dockerfile(self) -> Iterator[tuple[str, str]]:
        """Yield the wheels that pip is given, and where the dynamic linker looks."""
        for wheel in self.wheels:
            yield "wheels", wheel.filename
        if self.linked:
            yield "linked", self.linked

    def all_wheels(self, supplies: Supplies) -> list[StoredWheel]:
        """Return all wheels as they are in the store, sorted by file name."""
        return stored_wheels(self.wheels, self.native, supplies)

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        """Install the wheels, link their libraries, add the files."""
        # Imported late: planning installs nothing.
        from mlruntime.ecosystems.pypi.wheel import install_wheel

        site = Site(supplies.place)
        for wheel in self.all_wheels(supplies):
            bytecode = supplies.bytecode(wheel.sha256)
            # Of another package's files that a pattern matches, no other layer has them.
            package = canonicalize_name(wheel.filename.partition("-")[0])
            elsewhere = partial(any_has, [one for one in self.apart if one.package == package])
            has = partial(self._has, elsewhere)
            install_wheel(layer, wheel.path, wheel.filename, site, bytecode, has, elsewhere)
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
        names = {a.name for a in wheels} | {n.name for n in native}
        apart = tuple(one for one in planning.apart if one.package in names)
        if apart:
            key.append({"apart": [[x.package, x.files, x.but] for x in apart]})
        linked = (self.linked or "") if wheels else ""
        content = PythonPackages(
            wheels=wheels, native=native, files=files, linked=linked, called=called,
            left_out=left_out, apart=apart,
        )  # fmt: skip
        return PlannedLayer(name=self.name, key=layer_key("python", key), content=content)


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
