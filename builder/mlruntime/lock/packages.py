"""The packages that a lock is made of: files of registries, and what is made of them here.

Core: no I/O.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from mlruntime.documents.reading import canonical_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """One file of a registry, known by its hash.

    ``name`` is the PEP 503 name, the name of the Debian or conda package or ``group:artifact``;
    ``version`` is spelled as its ecosystem spells it; ``size`` in bytes; ``origin`` one of
    ``debian:SUITE:pool/…``, ``pypi``, ``maven`` and ``conda:SUBDIR:CHANNEL``.
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
class CondaPackage:
    """A conda package: its file, and what other tools want to know of it.

    ``build`` is its build string, ``md5`` in hex (``""`` if its channel does not tell),
    ``depends`` the match specifications of what it needs.
    """

    artifact: Artifact
    build: str
    md5: str
    depends: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the package's name."""
        return self.artifact.name

    @property
    def subdir(self) -> str:
        """Return its platform, as channels call it: ``linux-64`` or ``noarch``."""
        return self.artifact.origin.split(":", 2)[1]

    @property
    def channel(self) -> str:
        """Return the name or address of the channel that it is from."""
        return self.artifact.origin.split(":", 2)[2]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            **self.artifact.to_dict(),
            "build": self.build,
            **({"md5": self.md5} if self.md5 else {}),
            "depends": list(self.depends),
        }


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
    def released(self) -> Artifact:
        """Return it as a package of its ecosystem: the source's, in the version that it has."""
        return replace(self.sdist, name=self.name, version=self.version)

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


def set_digest(artifacts: tuple[Artifact, ...]) -> str:
    """Return the digest of a set of artifacts, whatever their order."""
    lines = sorted(f"{a.name} {a.version} {a.sha256}" for a in artifacts)
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()
