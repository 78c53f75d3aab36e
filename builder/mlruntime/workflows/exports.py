"""The Python packages of a runtime for other installers, with their files if asked for."""

import os
from dataclasses import dataclass
from pathlib import Path

from mlruntime.definitions.files import Definitions
from mlruntime.environment.description import is_environment, read_description, read_lock_of
from mlruntime.environment.exporting import (
    PYLOCK,
    REQUIREMENTS,
    Exported,
    exported,
    pylock,
    requirements,
)
from mlruntime.errors import UsageError
from mlruntime.fetch.locating import last_seen
from mlruntime.lock.model import CORE, Lock
from mlruntime.store.store import full_disk, link_or_copy
from mlruntime.workflows.environments import compiled_wheel
from mlruntime.workflows.host import Host
from mlruntime.workflows.locked import find_lock


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """What to write: a format, its file (``None``: stdout), a directory for the wheels."""

    format: str
    output: Path | None
    wheels: Path | None

    def refuse(self) -> None:
        """Raise ``UsageError`` for what does not fit together."""
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


def export(lock: Lock, variant: str, host: Host, wanted: Export) -> tuple[str, Exported]:
    """Return the text, and put the wheels into their directory if there is to be one."""
    wanted.refuse()
    if wanted.format == PYLOCK and lock.whole(variant).conda:
        raise UsageError(
            f"{lock.runtime} has conda packages, and a pylock.toml (PEP 751) has none",
            hint="--format requirements names them in comments",
        )
    python = ".".join(lock.component("python").split(".")[:2])
    if wanted.wheels is None:
        what = exported(lock, variant, python=python)
        return requirements(what), what
    with host.store.shared():
        own = lock.whole(variant)
        compiled = [compiled_wheel(host.store, lock, wheel) for wheel in own.native]
        what = exported(lock, variant, python=python, compiled=[a for a, _ in compiled])
        built = {artifact.sha256 for artifact, _ in compiled}
        with last_seen(lock):
            files = dict(host.fetch(a for a in what.wheels if a.sha256 not in built))
        files |= {artifact.sha256: path for artifact, path in compiled}
        with full_disk(wanted.wheels, instead="name another directory"):
            wanted.wheels.mkdir(parents=True, exist_ok=True)
            for wheel in what.wheels:
                target = wanted.wheels / wheel.filename
                target.unlink(missing_ok=True)
                link_or_copy(files[wheel.sha256], target)
    beside = wanted.output.parent if wanted.output else Path()
    folder = os.path.relpath(wanted.wheels, beside)
    return (
        requirements(what, folder) if wanted.format == REQUIREMENTS else pylock(what, folder)
    ), what
