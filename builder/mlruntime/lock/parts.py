"""The parts of a lock: what variants and flavours add to what they have in common. Core: no I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlruntime.lock.contract import HostContract
from mlruntime.lock.packages import (
    Artifact,
    CondaPackage,
    DummyPackage,
    NativeWheel,
    Omission,
)


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

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, which does not repeat the name."""
        return {
            **({"host-contract": self.contract.to_dict()} if self.contract else {}),
            **({"components": dict(self.components)} if self.components else {}),
            "python": listed(self.python),
            "native": [wheel.to_dict() for wheel in self.native],
            **_dummies(self.dummy_packages),
            **conda_listed(self.conda),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class FlavourVariant:
    """What one variant of a flavour has beyond the flavour's common part."""

    name: str
    python: tuple[Artifact, ...]
    dummy_packages: tuple[DummyPackage, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, which does not repeat the name."""
        return {"python": listed(self.python), **_dummies(self.dummy_packages)}


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

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, which does not repeat the name."""
        jar_requirements = list(self.jar_requirements)
        return {
            "request": self.request,
            **({"requirements": list(self.requirements)} if self.requirements else {}),
            **({"jar-requirements": jar_requirements} if jar_requirements else {}),
            "components": dict(self.components),
            "omitted": omissions_listed(self.omitted),
            **({"os": listed(self.os)} if self.os else {}),
            "python": listed(self.python),
            "jars": listed(self.jars),
            "variants": {variant.name: variant.to_dict() for variant in self.variants},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What one flavour itself brings into the image of a variant.

    ``packages`` are those of ecosystems that a lock has no other word for.
    """

    python: tuple[Artifact, ...]
    native: tuple[NativeWheel, ...]
    dummy_packages: tuple[DummyPackage, ...]
    jars: tuple[Artifact, ...]
    os: tuple[Artifact, ...] = ()
    conda: tuple[CondaPackage, ...] = ()
    packages: tuple[Artifact, ...] = ()

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Return the registry files that are installed as they are, all but sdists."""
        conda = (package.artifact for package in self.conda)
        return (*self.os, *conda, *self.python, *self.jars, *self.packages)

    @property
    def distributions(self) -> dict[str, str]:
        """Return the version of everything that ``pip list`` shows, by PEP 503 name, sorted."""
        found = {one.name: one.version for one in self.python}
        found |= {one.name: one.version for one in self.native}
        found |= {one.name: one.version for one in self.dummy_packages}
        return dict(sorted(found.items()))


def listed(artifacts: Iterable[Artifact]) -> list[dict[str, Any]]:
    """Return the JSON form of packages, sorted."""
    return [a.to_dict() for a in sorted(artifacts, key=lambda a: (a.name, a.version))]


def conda_listed(packages: Iterable[CondaPackage]) -> dict[str, Any]:
    """Return the entry of conda packages; most runtimes have none, and say nothing."""
    found = [package.to_dict() for package in sorted(packages, key=lambda p: p.name)]
    return {"conda": found} if found else {}


def omissions_listed(found: Iterable[Omission]) -> list[dict[str, str]]:
    """Return the JSON form of what was left out."""
    return [{"component": o.component, "artifact": o.artifact, "why": o.why} for o in found]


def _dummies(found: Iterable[DummyPackage]) -> dict[str, Any]:
    """Return the entry of a variant that has dummy packages; most have none, and say nothing."""
    entries = [
        {"name": s.name, "version": s.version, "by": s.by}
        for s in sorted(found, key=lambda s: s.name)
    ]
    return {"dummy-packages": entries} if entries else {}
