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
from mlruntime.lock.packages import Artifact, CondaPackage, Omission
from mlruntime.lock.parts import (
    Flavour,
    FlavourVariant,
    Part,
    Variant,
    conda_listed,
    listed,
    omissions_listed,
)

__all__ = ["Flavour", "FlavourVariant", "Lock", "Part", "Variant", "flavour_below", "tag"]

# What is written: a lock without flavours is as it was before there were any.
FORMAT: Final = 3
FORMAT_WITHOUT_FLAVOURS: Final = 2
# What is written of a runtime with conda packages, whether it has flavours or not.
FORMAT_WITH_CONDA: Final = 4
# What is written if a flavour has Debian packages of its own.
FORMAT_WITH_FLAVOURED_OS: Final = 5
# What is written of a runtime with packages of ecosystems that older locks have no place for.
FORMAT_WITH_PACKAGES: Final = 6
# Where an image has its conda packages, below its root.
CONDA_PREFIX: Final = "opt/conda"
# The flavour that every runtime has: what the lock says outside of ``flavours``.
CORE: Final = "core"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """All artifacts of one runtime.

    ``inputs`` are the digests of what made it (``matrix``, ``runtime``, ``images``);
    ``snapshot`` is the moment (RFC 3339, UTC) after which PyPI uploads are ignored; ``os`` the
    Debian packages of the image, ``build_depends`` those only a native build needs; ``python`` the
    wheels every variant has, ``conda`` the conda packages, ``packages`` those of ecosystems that a
    lock has no other word for. All of that is the flavour ``core``; ``flavours`` are what each of
    the others adds, in their order. A lock that is cut after one of them is the lock of that
    flavour's image.
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
    packages: tuple[Artifact, ...] = ()

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
                packages=self.packages,
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
            packages=tuple(package for part in parts for package in part.packages),
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
        return json.dumps(self._to_dict(), indent=1, ensure_ascii=False) + "\n"

    def _to_dict(self) -> dict[str, Any]:
        return {
            "format": self._format,
            "runtime": self.runtime,
            "inputs": dict(self.inputs),
            "snapshot": self.snapshot,
            "components": dict(self.components),
            "omitted": omissions_listed(self.omitted),
            "os": listed(self.os),
            "build-depends": listed(self.build_depends),
            "python": listed(self.python),
            "jars": listed(self.jars),
            **conda_listed(self.conda),
            **({"packages": listed(self.packages)} if self.packages else {}),
            "variants": {variant.name: variant.to_dict() for variant in self.variants},
            **(
                {"flavours": {flavour.name: flavour.to_dict() for flavour in self.flavours}}
                if self.flavours
                else {}
            ),
        }

    @property
    def _format(self) -> int:
        if self.packages:
            return FORMAT_WITH_PACKAGES
        if self.whole_os != self.os:
            return FORMAT_WITH_FLAVOURED_OS
        if self.has_conda:
            return FORMAT_WITH_CONDA
        return FORMAT if self.flavours else FORMAT_WITHOUT_FLAVOURS

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
