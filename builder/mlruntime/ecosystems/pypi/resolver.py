"""Python packages: exactly one file each, resolved by uv without ever running an sdist."""

import json
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uv
from packaging.markers import Environment
from packaging.pylock import (
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name

from mlruntime.ecosystems.pypi import ORIGIN
from mlruntime.ecosystems.pypi.explanation import explained, warnings
from mlruntime.ecosystems.pypi.markers import marker_environment
from mlruntime.ecosystems.pypi.reach import uv_environ, uv_words
from mlruntime.errors import CommandFailed, InvalidDefinition, Unavailable
from mlruntime.fetch.indexes import ProjectListing, project_listings
from mlruntime.host.command import run
from mlruntime.host.settings import Sources
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web

_MANYLINUX = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
# The newest glibc that uv knows; a newer one runs everything made for this one.
_UV_GLIBC = (2, 40)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The interpreter and C library that wheels must fit: ``python`` 3.11.2, ``glibc`` (2, 36)."""

    python: str
    glibc: tuple[int, int]

    @property
    def minor(self) -> tuple[int, int]:
        """Return the interpreter's major and minor version."""
        major, minor = self.python.split(".")[:2]
        return int(major), int(minor)

    @property
    def environment(self) -> Environment:
        """Return every environment marker's value on the target."""
        return marker_environment(self.python)

    @property
    def tags(self) -> tuple[Tag, ...]:
        """Return the wheel tags the target accepts, the best first."""
        platforms: list[str] = []
        for minor in range(self.glibc[1], 4, -1):
            platforms.append(f"manylinux_{self.glibc[0]}_{minor}_x86_64")
            if minor in _MANYLINUX:
                platforms.append(f"{_MANYLINUX[minor]}_x86_64")
        platforms.append("linux_x86_64")
        interpreter = "cp{}{}".format(*self.minor)
        own = cpython_tags(python_version=self.minor, platforms=platforms)
        return (*own, *compatible_tags(self.minor, interpreter, platforms))


@dataclass(frozen=True, kw_only=True, slots=True)
class Static:
    """What a package requires, said by us instead of by its own metadata.

    Of an sdist that is ``built`` here, nobody has to run it to know them; of any other package,
    they are what we make of it.
    """

    name: str
    version: str
    requires: tuple[str, ...]
    built: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolver:
    """uv, pointed at one target and one moment.

    ``snapshot`` is the moment after which uploads do not exist; ``scratch`` a directory for the
    files that uv is fed with; ``environ`` the caller's environment. ``web`` asks the indexes
    when uv finds nothing; ``tell`` hears what a user should know of the answer (a release that
    is yanked, an extra that does not exist), a line at a time.
    """

    sources: Sources
    web: "Web"
    target: Target
    snapshot: str
    scratch: Path
    environ: Mapping[str, str]
    tell: Callable[[str], None] = lambda _: None

    def compile(
        self,
        requirements: Iterable[str],
        *,
        constraints: Iterable[str] = (),
        static: Iterable[Static] = (),
    ) -> tuple[Artifact, ...]:
        """Return the closure of ``requirements``: wheels, and sdists of what is built here.

        Raises ``NoCompatibleVersions`` with uv's explanation, ``ArtifactNotFound`` for a name of
        ``requirements`` that no index lists, ``InvalidDefinition`` for a package that has no wheel
        and no recipe, ``Unavailable`` for whatever else an index lacks.
        """
        wanted, static = sorted(requirements), tuple(static)
        if not wanted:
            return ()
        text = self._uv(wanted, sorted(constraints), static, "--format", "pylock.toml")
        try:
            pylock = Pylock.from_dict(tomllib.loads(text))
            chosen = list(
                pylock.select(
                    environment=self.target.environment,
                    tags=self.target.tags,
                    prefer_sdist_predicate={e.name for e in static if e.built}.__contains__,
                )
            )
        except (PylockValidationError, PylockSelectError, tomllib.TOMLDecodeError) as error:
            raise Unavailable("uv's answer cannot be used", why=str(error)) from None
        artifacts = (_artifact(p.name, str(p.version), file) for p, file in chosen)
        return tuple(sorted(artifacts, key=lambda a: a.name))

    def requirers(
        self,
        name: str,
        requirements: Iterable[str],
        *,
        constraints: Iterable[str] = (),
        static: Iterable[Static] = (),
    ) -> tuple[str, ...]:
        """Return which packages of a closure require ``name``, sorted; none if it was asked for."""
        annotated = ("--annotation-style", "line")
        text = self._uv(sorted(requirements), sorted(constraints), tuple(static), *annotated)
        for line in text.splitlines():
            package, _, via = line.partition("# via")
            if canonicalize_name(package.partition("==")[0].strip()) == name:
                found = (word.strip() for word in via.split(","))
                return tuple(sorted(word for word in found if word and not word.startswith("-")))
        return ()

    def _uv(
        self, wanted: list[str], constraints: list[str], static: tuple[Static, ...], *form: str
    ) -> str:
        requirements, limits = self.scratch / "requirements.in", self.scratch / "constraints.txt"
        config = self.scratch / "uv.toml"
        requirements.write_text("\n".join(wanted) + "\n", encoding="utf-8")
        limits.write_text("\n".join(constraints) + "\n", encoding="utf-8")
        config.write_text("\n".join(_stanza(entry) for entry in static), encoding="utf-8")
        *extra, default = uv_words(self.sources)
        words: list[str | Path] = [
            uv.find_uv_bin(), "pip", "compile", requirements,
            *form, "--no-header", "--no-progress", "--no-sources",
            "--config-file", config, "--python", sys.executable, "--no-python-downloads",
            "--python-version", self.target.python,
            "--python-platform",
            "x86_64-manylinux_{}_{}".format(*min(self.target.glibc, _UV_GLIBC)),
            "--exclude-newer", self.snapshot, "--only-binary", ":all:",
            "--default-index", default,
        ]  # fmt: skip
        if constraints:
            words += ["--constraints", limits]
        words += [word for index in extra for word in ("--index", index)]
        built = [entry.name for entry in static if entry.built]
        words += [word for name in built for word in ("--no-binary", name)]
        said: list[str] = []
        try:
            environ = uv_environ(self.environ, self.sources)
            answer = run(words, env=environ, timeout=600, heard=said.append)
        except CommandFailed as error:
            names = frozenset(canonicalize_name(Requirement(line).name) for line in wanted)
            raise explained(error.why or "", names, self.snapshot, self._listings) from None
        for warning in warnings("".join(said), self._listings):
            self.tell(warning)
        return answer

    def _listings(self, name: str) -> tuple[ProjectListing, ...]:
        return tuple(project_listings(self.sources, self.web, name))


def _stanza(entry: Static) -> str:
    # The characters of a requirement are written the same way in a TOML and a JSON string.
    return (
        f"[[dependency-metadata]]\nname = {json.dumps(entry.name)}\n"
        f"version = {json.dumps(entry.version)}\n"
        f"requires-dist = {json.dumps(list(entry.requires))}\n"
    )


def _artifact(name: str, version: str, file: object) -> Artifact:
    if not isinstance(file, PackageWheel | PackageSdist):
        raise InvalidDefinition(f"{name} {version} comes from no package index")
    filename, sha256 = file.filename, file.hashes.get("sha256")
    if file.size is None or sha256 is None:
        raise Unavailable(
            f"the package index gives no size or no sha256 for {filename}",
            hint="use an index that serves the JSON form of the simple API",
        )
    return Artifact(
        kind="wheel" if isinstance(file, PackageWheel) else "sdist",
        name=name,
        version=version,
        filename=filename,
        size=file.size,
        sha256=sha256,
        origin=ORIGIN,
    )
