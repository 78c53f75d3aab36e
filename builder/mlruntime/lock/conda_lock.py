"""Lock files of conda-lock, in its format 1: written and read. Core: no I/O.

The form is that of conda-lock's own schema, ``conda-lock-v1.schema.json``. Format 1 is what
conda-lock, mamba and micromamba install from.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import yaml

from mlruntime.documents.reading import canonical_json, read_yaml
from mlruntime.documents.schema import Form, Sha256, Text, checked, described
from mlruntime.errors import InvalidLock
from mlruntime.lock.packages import Artifact, CondaPackage

PLATFORM: Final = "linux-64"
VERSION: Final = 1
Manager = Literal["conda", "pip"]
Md5 = Annotated[str, described("an MD5 in lower-case hex", "^[0-9a-f]{32}$")]


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedPackage:
    """A package of a conda-lock file.

    ``dependencies`` are (name, what versions), ``""`` for any; ``build`` is conda's; ``md5`` and
    ``build`` are ``""`` where there is none.
    """

    manager: Manager
    name: str
    version: str
    url: str
    sha256: str
    md5: str = ""
    build: str = ""
    dependencies: tuple[tuple[str, str], ...] = ()
    platform: str = PLATFORM


@dataclass(frozen=True, kw_only=True, slots=True)
class CondaLock:
    """A conda-lock file: its channels in the order of their priority, and its packages."""

    channels: tuple[str, ...]
    platforms: tuple[str, ...]
    packages: tuple[LockedPackage, ...]


def of_conda(package: CondaPackage, url: str) -> LockedPackage:
    """Return a conda package of our lock, to be had at ``url``.

    Raises ``InvalidLock`` for one without an MD5: the format has no package without.
    """
    if not package.md5:
        raise InvalidLock(
            f"{package.artifact.filename} has no MD5",
            why="conda-lock's format wants one of each conda package, and its channel tells none",
            hint="index the channel with a tool that writes it (`conda index`), and lock again",
        )
    pairs = (spec.partition(" ") for spec in package.depends)
    return LockedPackage(
        manager="conda",
        name=package.name,
        version=package.artifact.version,
        url=url,
        sha256=package.artifact.sha256,
        md5=package.md5,
        build=package.build,
        # Virtual packages are no packages of the file.
        dependencies=tuple((n, limit.strip()) for n, _, limit in pairs if not n.startswith("__")),
    )


def of_wheel(wheel: Artifact, url: str, dependencies: Iterable[str] = ()) -> LockedPackage:
    """Return a wheel of our lock, to be had at ``url``; what it needs, by name, if that is known.

    conda-lock's own installer takes what the file lists, whatever that needs.
    """
    return LockedPackage(
        manager="pip",
        name=wheel.name,
        version=wheel.version,
        url=url,
        sha256=wheel.sha256,
        dependencies=tuple((name, "") for name in sorted(dependencies)),
    )


def conda_packages(
    packages: Iterable[CondaPackage], url: Callable[[Artifact], str]
) -> tuple[LockedPackage, ...]:
    """Return conda packages of our lock; ``url`` says where each is to be had."""
    return tuple(of_conda(package, url(package.artifact)) for package in packages)


def write_conda_lock(
    packages: Iterable[LockedPackage], channels: Iterable[str], *, sources: Iterable[str] = ()
) -> str:
    """Return the text of a conda-lock file; equal packages give equal bytes.

    ``sources`` are the files that it was made from, as conda-lock would name them.
    """
    listed = [_package(p) for p in sorted(packages, key=lambda p: (p.manager, p.name))]
    urls = [{"url": channel, "used_env_vars": []} for channel in channels]
    content = hashlib.sha256(canonical_json([listed, urls]).encode()).hexdigest()
    top = {
        "version": VERSION,
        "metadata": {
            "content_hash": {PLATFORM: content},
            "channels": urls,
            "platforms": [PLATFORM],
            "sources": list(sources),
        },
        "package": listed,
    }
    return str(yaml.safe_dump(top, sort_keys=False, allow_unicode=True, width=1000))


def _package(package: LockedPackage) -> dict[str, Any]:
    return {
        "name": package.name,
        "version": package.version,
        "manager": package.manager,
        "platform": package.platform,
        "dependencies": dict(package.dependencies),
        "url": package.url,
        "hash": {**({"md5": package.md5} if package.md5 else {}), "sha256": package.sha256},
        **({"build": package.build} if package.build else {}),
        "category": "main",
        "optional": False,
    }


class HashForm(Form, frozen=True, rename=None):
    """What a package's bytes are known by."""

    sha256: Sha256 | None = None
    md5: Md5 | None = None


class PackageForm(Form, frozen=True, rename=None):
    """A package of a conda-lock file."""

    name: Text
    version: Text
    manager: Manager
    platform: Text
    url: Text
    hash: HashForm
    optional: bool
    dependencies: dict[str, str] | None = None
    build: str | None = None
    category: str | None = None
    source: dict[str, str] | None = None


class ChannelForm(Form, frozen=True, rename=None):
    """A channel of a conda-lock file."""

    url: Text
    used_env_vars: list[str] | None = None


class MetadataForm(Form, frozen=True, rename=None):
    """What a conda-lock file is about; what its tool says of itself is not looked at."""

    content_hash: dict[str, str]
    channels: list[ChannelForm]
    platforms: list[Text]
    sources: list[str]
    time_metadata: dict[str, str] | None = None
    git_metadata: dict[str, str | None] | None = None
    inputs_metadata: dict[str, dict[str, str]] | None = None
    custom_metadata: dict[str, str] | None = None


class CondaLockForm(Form, frozen=True, rename=None):
    """A lock file of conda-lock, format 1."""

    version: int
    metadata: MetadataForm
    package: list[PackageForm]


def read_conda_lock(text: str, *, file: str) -> CondaLock:
    """Read a conda-lock file of format 1; what is not one raises ``InvalidLock`` with its place.

    A package without a sha256 is refused: everything of ours is known by it.
    """
    top = read_yaml(text, file=file, error=InvalidLock)
    version = top.get("version").integer()
    if version != VERSION:
        raise top.get("version").fail(
            f"conda-lock format {version} is not known; this reads {VERSION}",
            hint="lock with conda-lock, which writes that one",
        )
    form = checked(CondaLockForm, top)
    packages = []
    for index, one in enumerate(form.package):
        if one.hash.sha256 is None:
            raise (
                top.get("package")
                .at(index)
                .get("hash")
                .fail(f"{one.name} has no sha256", hint="lock with a newer conda-lock")
            )
        packages.append(
            LockedPackage(
                manager=one.manager,
                name=one.name,
                version=one.version,
                url=one.url,
                sha256=one.hash.sha256,
                md5=one.hash.md5 or "",
                build=one.build or "",
                dependencies=tuple((one.dependencies or {}).items()),
                platform=one.platform,
            )
        )
    return CondaLock(
        channels=tuple(channel.url for channel in form.metadata.channels),
        platforms=tuple(form.metadata.platforms),
        packages=tuple(packages),
    )
