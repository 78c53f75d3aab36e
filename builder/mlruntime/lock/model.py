"""The lock: every artifact of a runtime by name, version, size and sha256. Core: no I/O.

One lock holds all variants. ``python`` and the OS are common; a variant adds only what differs
(TensorFlow's own wheel, CUDA wheels, the natively compiled wheels). A lock names no mirror: an
artifact's ``origin`` is its address *within* a registry, and the host's own client configuration
says where that registry is.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from mlruntime.documents.reading import did_you_mean
from mlruntime.errors import InvalidLock, UsageError
from mlruntime.lock.contract import HostContract
from mlruntime.lock.packages import (
    Artifact,
    CondaPackage,
    DummyPackage,
    NativeWheel,
    Omission,
)

# What is written: a lock without flavours is as it was before there were any.
FORMAT: Final = 3
FORMAT_WITHOUT_FLAVOURS: Final = 2
# What is written of a runtime with conda packages, whether it has flavours or not.
FORMAT_WITH_CONDA: Final = 4
# What is written if a flavour has Debian packages of its own.
FORMAT_WITH_FLAVOURED_OS: Final = 5
# Where an image has its conda packages, below its root.
CONDA_PREFIX: Final = "opt/conda"
# The flavour that every runtime has: what the lock says outside of ``flavours``.
CORE: Final = "core"


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """What one variant has beyond the common part; ``components`` only it consists of.

    ``contract`` is what it asks of a host's GPUs.
    """

    name: str
    python: tuple[Artifact, ...]
    native: tuple[NativeWheel, ...]
    dummy_packages: tuple[DummyPackage, ...] = ()
    components: tuple[tuple[str, str], ...] = ()
    contract: HostContract | None = None
    conda: tuple[CondaPackage, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FlavourVariant:
    """What one variant of a flavour has beyond the flavour's common part."""

    name: str
    python: tuple[Artifact, ...]
    dummy_packages: tuple[DummyPackage, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Flavour:
    """What a flavour adds to those below it, the lowest of which is ``core``.

    ``request`` is the digest of what was asked for; ``python`` are the wheels that every variant
    of it has, ``os`` the Debian packages. ``requirements`` are the lines of a requirements file,
    and ``jar_requirements`` those of a list of jars, for what somebody adds to a runtime; a flavour
    of the runtime itself has neither.
    """

    name: str
    request: str
    components: tuple[tuple[str, str], ...]
    omitted: tuple[Omission, ...]
    python: tuple[Artifact, ...]
    jars: tuple[Artifact, ...]
    variants: tuple[FlavourVariant, ...]
    requirements: tuple[str, ...] = ()
    jar_requirements: tuple[str, ...] = ()
    os: tuple[Artifact, ...] = ()

    @property
    def is_added(self) -> bool:
        """Return whether somebody added it to the runtime."""
        return bool(self.requirements or self.jar_requirements)

    def of(self, variant: str) -> FlavourVariant:
        """Return what it has in one variant only; nothing, where the lock says nothing."""
        nothing = FlavourVariant(name=variant, python=())
        return next((v for v in self.variants if v.name == variant), nothing)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What one flavour itself brings into the image of a variant."""

    python: tuple[Artifact, ...]
    native: tuple[NativeWheel, ...]
    dummy_packages: tuple[DummyPackage, ...]
    jars: tuple[Artifact, ...]
    os: tuple[Artifact, ...] = ()
    conda: tuple[CondaPackage, ...] = ()

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Return the registry files that are installed as they are, all but sdists."""
        conda = (package.artifact for package in self.conda)
        return (*self.os, *conda, *self.python, *self.jars)

    @property
    def distributions(self) -> dict[str, str]:
        """Return the version of everything that ``pip list`` shows, by PEP 503 name, sorted."""
        found = {one.name: one.version for one in self.python}
        found |= {one.name: one.version for one in self.native}
        found |= {one.name: one.version for one in self.dummy_packages}
        return dict(sorted(found.items()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """All artifacts of one runtime.

    ``inputs`` are the digests of what made it (``matrix``, ``runtime``, ``images``);
    ``snapshot`` is the moment (RFC 3339, UTC) after which PyPI uploads are ignored; ``os`` the
    Debian packages of the image, ``build_depends`` those only a native build needs; ``python`` the
    wheels every variant has, ``conda`` the conda packages. All of that is the flavour ``core``;
    ``flavours`` are what each of the others adds, in their order. A lock that is cut after one of
    them is the lock of that flavour's image.
    """

    runtime: str
    inputs: tuple[tuple[str, str], ...]
    snapshot: str
    components: tuple[tuple[str, str], ...]
    omitted: tuple[Omission, ...]
    os: tuple[Artifact, ...]
    build_depends: tuple[Artifact, ...]
    python: tuple[Artifact, ...]
    jars: tuple[Artifact, ...]
    variants: tuple[Variant, ...]
    flavours: tuple[Flavour, ...] = ()
    conda: tuple[CondaPackage, ...] = ()

    @property
    def has_conda(self) -> bool:
        """Return whether any variant has conda packages."""
        return bool(self.conda or any(variant.conda for variant in self.variants))

    @property
    def interpreter(self) -> str:
        """Return the directory of the image's own Python, an absolute path.

        It is a conda package's if a variant has one called ``python``, else Debian's.
        """
        packages = (*self.conda, *(p for variant in self.variants for p in variant.conda))
        is_conda = any(package.name == "python" for package in packages)
        return f"/{CONDA_PREFIX}/bin" if is_conda else "/usr/bin"

    @property
    def flavour(self) -> str:
        """Return the name of the flavour that has all that is in this lock."""
        return self.flavours[-1].name if self.flavours else CORE

    @property
    def of_runtime(self) -> "Lock":
        """Return the lock without packages that somebody added to the runtime."""
        return replace(self, flavours=tuple(f for f in self.flavours if not f.is_added))

    @property
    def flavour_names(self) -> tuple[str, ...]:
        """Return the names of all flavours, ``core`` first."""
        return (CORE, *(flavour.name for flavour in self.flavours))

    def cut(self, flavour: str) -> "Lock":
        """Return the lock of one flavour: what it and those below it have, and nothing else.

        Its digest does not depend on the flavours above it. Raises ``UsageError`` for an unknown
        one.
        """
        names = self.flavour_names
        if flavour not in names:
            raise UsageError(
                f"{self.runtime} has no flavour {flavour!r}", hint=did_you_mean(flavour, names)
            )
        return replace(self, flavours=self.flavours[: names.index(flavour)])

    def part(self, flavour: str, variant: str) -> Part:
        """Return what one flavour itself brings, without those below it."""
        if flavour == CORE:
            own = self.variant(variant)
            return Part(
                python=(*self.python, *own.python),
                native=own.native,
                dummy_packages=own.dummy_packages,
                jars=self.jars,
                os=self.os,
                conda=(*self.conda, *own.conda),
            )
        added = next(one for one in self.flavours if one.name == flavour)
        mine = added.of(variant)
        return Part(
            python=(*added.python, *mine.python),
            native=(),
            dummy_packages=mine.dummy_packages,
            jars=added.jars,
            os=added.os,
        )

    def whole(self, variant: str) -> Part:
        """Return all that the image of a variant has, of every flavour in this lock."""
        parts = [self.part(name, variant) for name in self.flavour_names]
        return Part(
            python=tuple(a for part in parts for a in part.python),
            native=tuple(wheel for part in parts for wheel in part.native),
            dummy_packages=tuple(one for part in parts for one in part.dummy_packages),
            jars=tuple(jar for part in parts for jar in part.jars),
            os=self.whole_os,
            conda=tuple(package for part in parts for package in part.conda),
        )

    @property
    def whole_os(self) -> tuple[Artifact, ...]:
        """Return the Debian packages of every flavour in this lock; variants do not differ."""
        return (*self.os, *(package for flavour in self.flavours for package in flavour.os))

    @property
    def all_omitted(self) -> tuple[Omission, ...]:
        """Return what was left out of any flavour."""
        return (*self.omitted, *(o for flavour in self.flavours for o in flavour.omitted))

    def variant(self, name: str) -> Variant:
        """Return the variant, or raise ``InvalidLock`` naming those there are."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        known = ", ".join(v.name for v in self.variants)
        raise InvalidLock(f"{self.runtime} has no locked variant {name!r}", hint=f"locked: {known}")

    def component(self, name: str) -> str:
        """Return the locked version of a component, of whatever variant."""
        return self.all_components[name]

    def components_of(self, variant: str) -> tuple[tuple[str, str], ...]:
        """Return the components of one variant with their versions, sorted by name."""
        added = (component for flavour in self.flavours for component in flavour.components)
        return tuple(sorted((*self.components, *self.variant(variant).components, *added)))

    @property
    def all_components(self) -> dict[str, str]:
        """Return the components of all variants and flavours with their versions."""
        return (
            dict(self.components)
            | dict(c for v in self.variants for c in v.components)
            | dict(c for flavour in self.flavours for c in flavour.components)
        )

    def to_json(self) -> str:
        """Return the file's text; equal locks give equal bytes."""
        return json.dumps(_lock_dict(self), indent=1, ensure_ascii=False) + "\n"

    @property
    def digest(self) -> str:
        """Return ``sha256:…`` of the file's text."""
        return "sha256:" + hashlib.sha256(self.to_json().encode()).hexdigest()


def tag(variant: str, flavour: str) -> str:
    """Return the tag of an image: ``cpu``, ``gpu-notebook``; ``core`` is not said."""
    return variant if flavour == CORE else f"{variant}-{flavour}"


def flavour_below(name: str, flavours: Iterable[str]) -> str:
    """Return which of a runtime's flavours an image's flavour is, or is on top of."""
    found = [one for one in flavours if name == one or name.startswith(f"{one}-")]
    return max(found, key=len, default=CORE)


def _lock_dict(lock: Lock) -> dict[str, Any]:
    return {
        "format": _format(lock),
        "runtime": lock.runtime,
        "inputs": dict(lock.inputs),
        "snapshot": lock.snapshot,
        "components": dict(lock.components),
        "omitted": _omitted(lock.omitted),
        "os": _listed(lock.os),
        "build-depends": _listed(lock.build_depends),
        "python": _listed(lock.python),
        "jars": _listed(lock.jars),
        **_conda_dict(lock.conda),
        "variants": {
            v.name: {
                **({"host-contract": v.contract.to_dict()} if v.contract else {}),
                **({"components": dict(v.components)} if v.components else {}),
                "python": _listed(v.python),
                "native": [n.to_dict() for n in v.native],
                **_dummy_packages_dict(v.dummy_packages),
                **_conda_dict(v.conda),
            }
            for v in lock.variants
        },
        **(
            {"flavours": {f.name: _flavour_dict(f) for f in lock.flavours}} if lock.flavours else {}
        ),
    }


def _format(lock: Lock) -> int:
    if lock.whole_os != lock.os:
        return FORMAT_WITH_FLAVOURED_OS
    if lock.has_conda:
        return FORMAT_WITH_CONDA
    return FORMAT if lock.flavours else FORMAT_WITHOUT_FLAVOURS


def _conda_dict(packages: tuple[CondaPackage, ...]) -> dict[str, Any]:
    """Return the entry of conda packages; most runtimes have none, and say nothing."""
    listed = [package.to_dict() for package in sorted(packages, key=lambda p: p.name)]
    return {"conda": listed} if listed else {}


def _flavour_dict(flavour: Flavour) -> dict[str, Any]:
    return {
        "request": flavour.request,
        **({"requirements": list(flavour.requirements)} if flavour.requirements else {}),
        **(
            {"jar-requirements": list(flavour.jar_requirements)} if flavour.jar_requirements else {}
        ),
        "components": dict(flavour.components),
        "omitted": _omitted(flavour.omitted),
        **({"os": _listed(flavour.os)} if flavour.os else {}),
        "python": _listed(flavour.python),
        "jars": _listed(flavour.jars),
        "variants": {
            v.name: {"python": _listed(v.python), **_dummy_packages_dict(v.dummy_packages)}
            for v in flavour.variants
        },
    }


def _listed(artifacts: tuple[Artifact, ...]) -> list[dict[str, Any]]:
    return [a.to_dict() for a in sorted(artifacts, key=lambda a: (a.name, a.version))]


def _omitted(found: tuple[Omission, ...]) -> list[dict[str, str]]:
    return [{"component": o.component, "artifact": o.artifact, "why": o.why} for o in found]


def _dummy_packages_dict(found: tuple[DummyPackage, ...]) -> dict[str, Any]:
    """Return the entry of a variant that has dummy packages; most have none, and say nothing."""
    listed = [
        {"name": s.name, "version": s.version, "by": s.by}
        for s in sorted(found, key=lambda s: s.name)
    ]
    return {"dummy-packages": listed} if listed else {}
