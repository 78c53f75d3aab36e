"""What a runtime or an environment has, for other tools, with its files if asked for."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.conda.channel import channel_url
from mlruntime.environment.contents import is_of_system
from mlruntime.environment.creation import beside
from mlruntime.environment.description import is_environment, read_description, read_lock_of
from mlruntime.environment.dockerfile import ARCHIVE, dockerfile, refuse_base, usual_base
from mlruntime.environment.exporting import (
    CONDA_LOCK,
    CYCLONEDX,
    DOCKERFILE,
    PIXI,
    PYLOCK,
    REQUIREMENTS,
    ExportedPackages,
    exported,
    pylock,
    requirements,
)
from mlruntime.environment.packing import pack, refuse_archive
from mlruntime.errors import UsageError
from mlruntime.fetch.locating import last_seen
from mlruntime.host.secrets import without_secrets
from mlruntime.lock.conda_lock import conda_packages, of_wheel, write_conda_lock
from mlruntime.lock.model import CORE, Lock
from mlruntime.lock.packages import Artifact
from mlruntime.lock.pixi import write_pixi_lock
from mlruntime.release.sbom import cyclonedx_of_environment, packages
from mlruntime.store.store import link_or_copy, storage_errors
from mlruntime.workflows.environment.managing import Requested, compiled_wheel, create_environment
from mlruntime.workflows.host import Host
from mlruntime.workflows.licences import licences_in
from mlruntime.workflows.locked import find_lock


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """What to write: a format, its file (``None``: stdout), a directory for the wheels.

    ``base`` is the image that a Dockerfile starts from, ``None`` the usual one.
    """

    format: str
    output: Path | None
    wheels: Path | None
    base: str | None = None

    def refuse(self) -> None:
        """Raise ``UsageError`` for what does not fit together."""
        if self.base is not None and self.format != DOCKERFILE:
            raise UsageError("--base is for --format dockerfile", hint="without --base")
        if self.wheels is not None and self.format in (CYCLONEDX, DOCKERFILE):
            raise UsageError(f"--format {self.format} needs no wheels", hint="without --wheels")
        if self.format == DOCKERFILE and self.output is None:
            raise UsageError(
                "a Dockerfile needs what it adds beside it",
                hint="--output DIR/Dockerfile: the environment goes there, too, as an archive",
            )
        if self.format != PYLOCK:
            return
        if self.wheels is None or self.output is None:
            raise UsageError(
                "a pylock.toml says where each wheel is",
                hint="--wheels DIR for the wheels, and --output DIR/../pylock.toml",
            )
        name = self.output.name
        if name != "pylock.toml" and not (name.startswith("pylock.") and name.endswith(".toml")):
            raise UsageError(
                f"{name} is not read by installers",
                why="PEP 751 names such a file pylock.toml, or pylock.NAME.toml",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What was exported: ``packages`` by name and version, ``left_out`` with the reason."""

    text: str
    packages: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str, str], ...] = ()

    @classmethod
    def of(cls, text: str, what: ExportedPackages) -> "Written":
        """Return what was written of Python packages."""
        compiled = ((w.name, w.version, "--wheels DIR has it") for w in what.left_out)
        conda = ((a.name, a.version, "of a conda channel, named in a comment") for a in what.conda)
        return cls(
            text=text,
            packages=tuple((wheel.name, wheel.version) for wheel in what.sorted_wheels),
            left_out=(*compiled, *conda),
        )


def lock_to_export(
    definitions: Definitions, named: str, variant: str | None, flavour: str | None = None
) -> tuple[Lock, str]:
    """Return the lock and variant of an environment, or of a runtime or lock file."""
    root = Path(named)
    if is_environment(root):
        found = read_description(root)
        if variant not in (None, found.variant):
            raise UsageError(f"this environment is {found.variant}, not {variant}", where=named)
        lock = read_lock_of(root)
        return lock.cut(flavour or lock.flavour), found.variant
    return find_lock(definitions, named).cut(flavour or CORE), variant or "cpu"


def export(
    lock: Lock, variant: str, host: Host, wanted: Export, root: Path | None = None
) -> Written:
    """Return what to write, having put the wheels into their directory if there is to be one.

    ``root`` is the environment, if there is one: its packages tell their licences, a lock does not.
    """
    wanted.refuse()
    if wanted.format == CYCLONEDX:
        return _bill_of_materials(lock, variant, root)
    if wanted.format in (CONDA_LOCK, PIXI):
        return _for_conda(lock, variant, host, wanted)
    if wanted.format == PYLOCK and lock.whole(variant).conda:
        raise UsageError(
            f"{lock.runtime} has conda packages, and a pylock.toml (PEP 751) has none",
            hint="--format requirements names them in comments, --format conda-lock has them",
        )
    what = _wheels(lock, variant, host, wanted)
    if wanted.wheels is None:
        return Written.of(requirements(what), what)
    beside = wanted.output.parent if wanted.output else Path()
    folder = os.path.relpath(wanted.wheels, beside)
    text = requirements(what, folder) if wanted.format == REQUIREMENTS else pylock(what, folder)
    return Written.of(text, what)


def _wheels(lock: Lock, variant: str, host: Host, wanted: Export) -> ExportedPackages:
    """Return the Python packages, and put the wheels into their directory if there is to be one."""
    python = ".".join(lock.component("python").split(".")[:2])
    if wanted.wheels is None:
        return exported(lock, variant, python=python)
    with host.store.shared():
        own = lock.whole(variant)
        compiled = [compiled_wheel(host.store, lock, wheel) for wheel in own.native]
        what = exported(lock, variant, python=python, compiled=[a for a, _ in compiled])
        built = {artifact.sha256 for artifact, _ in compiled}
        with last_seen(lock):
            files = dict(host.fetch(a for a in what.wheels if a.sha256 not in built))
        files |= {artifact.sha256: path for artifact, path in compiled}
        with storage_errors(wanted.wheels, instead="name another directory"):
            wanted.wheels.mkdir(parents=True, exist_ok=True)
            for wheel in what.wheels:
                target = wanted.wheels / wheel.filename
                target.unlink(missing_ok=True)
                link_or_copy(files[wheel.sha256], target)
    return what


def _for_conda(lock: Lock, variant: str, host: Host, wanted: Export) -> Written:
    # Imported late: HTTP takes a fifth of the time that the verbs of `env` take to start.
    from mlruntime.workflows.addresses import addresses

    conda = lock.whole(variant).conda
    if not any(package.name == "python" for package in conda):
        raise UsageError(
            f"{lock.runtime} has no Python of a conda channel",
            why=f"{wanted.format} installs Python packages for the Python that the same file lists",
            hint="--format requirements or pylock, for any Python; docs/conda.md says how a runtime"
            " gets its Python from a channel",
        )
    what = _wheels(lock, variant, host, wanted)
    artifacts = [package.artifact for package in conda]
    with host.registries() as registries:
        if wanted.wheels is None:
            urls = addresses((*artifacts, *what.wheels), registries.sources, registries.web, lock)
        else:
            folder = wanted.wheels.absolute()
            urls = addresses(artifacts, registries.sources, registries.web, lock)
            urls |= {wheel.sha256: (folder / wheel.filename).as_uri() for wheel in what.wheels}
        names = dict.fromkeys(package.channel for package in conda)
        channels = [without_secrets(channel_url(name, registries.sources)) for name in names]
    if wanted.format == PIXI:
        text = write_pixi_lock(
            ((package, urls[package.artifact.sha256]) for package in conda),
            ((wheel, urls[wheel.sha256]) for wheel in what.wheels),
            channels,
        )
    else:
        wheels = (of_wheel(wheel, urls[wheel.sha256]) for wheel in what.wheels)
        packages = (*conda_packages(conda, lambda a: urls[a.sha256]), *wheels)
        text = write_conda_lock(packages, channels, sources=[f"{lock.runtime}: lock.json"])
    named = (*((a.name, a.version) for a in artifacts), *((w.name, w.version) for w in what.wheels))
    return replace(Written.of(text, replace(what, conda=())), packages=tuple(sorted(named)))


def _bill_of_materials(lock: Lock, variant: str, root: Path | None) -> Written:
    try:
        import cyclonedx  # noqa: F401
    except ImportError:
        raise UsageError(
            "the library that writes CycloneDX documents is not installed",
            hint="pip install 'mlruntime[release]'",
        ) from None

    system = frozenset(lock.whole_os)

    def has(artifact: Artifact) -> bool:
        return artifact not in system or is_of_system(artifact.name)

    # What images leave out of packages, environments have: they are unpacked whole.
    licences = licences_in(root) if root is not None else {}
    found = packages(lock, variant, licences=licences, left_out={}, has=has)
    return Written(
        text=cyclonedx_of_environment(lock, variant, found),
        packages=tuple((package.name, package.version) for package in found),
    )


def export_dockerfile(
    definitions: Definitions,
    named: str,
    requested: Requested,
    host: Host,
    wanted: Export,
    environ: Mapping[str, str],
) -> Written:
    """Return a Dockerfile, having written the environment that it adds as an archive beside it.

    ``named`` is an environment, which is packed as it is; of a runtime or lock, one is made for it.
    """
    wanted.refuse()
    base = wanted.base or usual_base(requested.lock)
    refuse_base(base)
    assert wanted.output is not None
    folder = wanted.output.absolute().parent
    archive = folder / ARCHIVE
    refuse_archive(archive)
    lock, whole = requested.lock, requested.lock.whole(requested.variant)
    if whole.conda:
        raise UsageError(
            f"{lock.runtime} has conda packages, whose files hold the path that they are at",
            why="a Dockerfile adds an environment that was made elsewhere",
            hint=f"`mlruntime build {lock.runtime}` makes an image of it",
        )
    with storage_errors(folder, instead="name another directory"):
        folder.mkdir(parents=True, exist_ok=True)
        with beside(wanted.output.absolute()) as scratch:
            root = Path(named)
            if not is_environment(root):
                # Not in the directory itself: that is locked, as a sign that it is in use.
                root = scratch / "made" / "ml"
                create_environment(definitions, requested, root, host, environ, remember=False)
            made = read_description(root)
            pack(root, archive)
    return Written(
        text=dockerfile(made, base),
        packages=tuple(whole.distributions.items()),
    )
