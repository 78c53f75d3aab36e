"""The lock: every artifact of a runtime by name, version, size and sha256. Core: no I/O.

One lock holds all variants. ``python`` and the OS are common; a variant adds only what differs
(TensorFlow's own wheel, CUDA wheels, the natively compiled wheels). A lock names no mirror: an
artifact's ``origin`` is its address *within* a registry, and the host's own client configuration
says where that registry is.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from mlruntime.documents.reading import canonical_json
from mlruntime.errors import InvalidLock
from mlruntime.lock.contract import HostContract

FORMAT: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """One file of a registry, known by its hash.

    ``name`` is the PEP 503 name, the Debian package name or ``group:artifact``; ``version`` is
    spelled as its ecosystem spells it; ``size`` in bytes; ``origin`` one of
    ``debian:SUITE:pool/…``, ``pypi`` and ``maven``.
    """

    kind: str
    name: str
    version: str
    filename: str
    size: int
    sha256: str
    origin: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, keys in the documented order."""
        return {field: getattr(self, field) for field in self.__dataclass_fields__}


@dataclass(frozen=True, kw_only=True, slots=True)
class NativeWheel:
    """A wheel that is built here, in a container without network, from an sdist.

    ``link_against`` are the wheels of the runtime that must be installed while it is built (the
    TensorFlow it is linked with); ``build_depends_unpacked`` Debian packages that
    are laid out and not installed; ``prepare`` the script that runs before the build, with its
    sha256; ``key`` identifies everything that can change its bytes.
    """

    name: str
    version: str
    python: str
    sdist: Artifact
    link_against: tuple[Artifact, ...]
    requirements: tuple[Artifact, ...]
    environment: tuple[tuple[str, str], ...]
    patches: tuple[tuple[str, str], ...]
    base: str
    build_depends: str
    build_depends_unpacked: tuple[Artifact, ...] = ()
    prepare: tuple[str, str] | None = None

    @property
    def beside(self) -> tuple[tuple[str, str], ...]:
        """Return the recipe's own files, patches and script, each with its sha256."""
        return (*self.patches, self.prepare) if self.prepare else self.patches

    @property
    def key(self) -> str:
        """Return the recipe key, a sha256 in hex.

        ``base`` and ``build_depends`` are digests of the Debian package sets it is built in. What a
        recipe does without is not in its key.
        """
        recipe: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "python": self.python,
            "sdist": self.sdist.sha256,
            "against": sorted(a.sha256 for a in self.link_against),
            "requirements": sorted(a.sha256 for a in self.requirements),
            "environment": dict(self.environment),
            "patches": list(self.patches),
            "base": self.base,
            "toolchain": self.build_depends,
        }
        if self.build_depends_unpacked:
            recipe["unpacked"] = sorted(a.sha256 for a in self.build_depends_unpacked)
        if self.prepare:
            recipe["prepare"] = self.prepare[1]
        return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "version": self.version,
            "key": self.key,
            "python": self.python,
            "sdist": self.sdist.to_dict(),
            "link-against": [a.to_dict() for a in self.link_against],
            "requirements": [a.to_dict() for a in self.requirements],
            "environment": dict(self.environment),
            "patches": [_named_file(patch) for patch in self.patches],
            "base": self.base,
            "build-depends": self.build_depends,
            **(
                {"build-depends-unpacked": [a.to_dict() for a in self.build_depends_unpacked]}
                if self.build_depends_unpacked
                else {}
            ),
            **({"prepare": _named_file(self.prepare)} if self.prepare else {}),
        }


def _named_file(file: tuple[str, str]) -> dict[str, str]:
    return {"name": file[0], "sha256": file[1]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Omission:
    """A component that was asked for and is not in the image, with the reason."""

    component: str
    artifact: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DummyPackage:
    """A package that is not installed, because another one (``by``) is the same by another name.

    The image has metadata for it, of that ``version``, and no files: what requires it is content,
    and installing it would overwrite ``by``.
    """

    name: str
    version: str
    by: str


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """All artifacts of one runtime.

    ``inputs`` are the digests of what made it (``matrix``, ``runtime``, ``images``);
    ``snapshot`` is the moment (RFC 3339, UTC) after which PyPI uploads are ignored; ``os`` the
    Debian packages of the image, ``build_depends`` those only a native build needs; ``python`` the
    wheels every variant has.
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
        return tuple(sorted((*self.components, *self.variant(variant).components)))

    @property
    def all_components(self) -> dict[str, str]:
        """Return the components of all variants with their versions."""
        return dict(self.components) | dict(c for v in self.variants for c in v.components)

    def to_json(self) -> str:
        """Return the file's text; equal locks give equal bytes."""
        return json.dumps(_lock_dict(self), indent=1, ensure_ascii=False) + "\n"

    @property
    def digest(self) -> str:
        """Return ``sha256:…`` of the file's text."""
        return "sha256:" + hashlib.sha256(self.to_json().encode()).hexdigest()


def set_digest(artifacts: tuple[Artifact, ...]) -> str:
    """Return the digest of a set of artifacts, whatever their order."""
    lines = sorted(f"{a.name} {a.version} {a.sha256}" for a in artifacts)
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _lock_dict(lock: Lock) -> dict[str, Any]:
    def listed(artifacts: tuple[Artifact, ...]) -> list[dict[str, Any]]:
        return [a.to_dict() for a in sorted(artifacts, key=lambda a: (a.name, a.version))]

    return {
        "format": FORMAT,
        "runtime": lock.runtime,
        "inputs": dict(lock.inputs),
        "snapshot": lock.snapshot,
        "components": dict(lock.components),
        "omitted": [
            {"component": o.component, "artifact": o.artifact, "why": o.why} for o in lock.omitted
        ],
        "os": listed(lock.os),
        "build-depends": listed(lock.build_depends),
        "python": listed(lock.python),
        "jars": listed(lock.jars),
        "variants": {
            v.name: {
                **({"host-contract": v.contract.to_dict()} if v.contract else {}),
                **({"components": dict(v.components)} if v.components else {}),
                "python": listed(v.python),
                "native": [n.to_dict() for n in v.native],
                **_dummy_packages_dict(v.dummy_packages),
            }
            for v in lock.variants
        },
    }


def _dummy_packages_dict(found: tuple[DummyPackage, ...]) -> dict[str, Any]:
    """Return the entry of a variant that has dummy packages; most have none, and say nothing."""
    listed = [
        {"name": s.name, "version": s.version, "by": s.by}
        for s in sorted(found, key=lambda s: s.name)
    ]
    return {"dummy-packages": listed} if listed else {}
