"""The packages of a lock for other installers. Core: values in, text out.

Here: pip's requirements files, with hashes, and ``pylock.toml`` (PEP 751). What conda-lock and pixi
read is written by ``lock.conda_lock`` and ``lock.pixi``, a Dockerfile by ``dockerfile``.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact, NativeWheel

REQUIREMENTS: Final = "requirements"
PYLOCK: Final = "pylock"
CONDA_LOCK: Final = "conda-lock"
PIXI: Final = "pixi"
CYCLONEDX: Final = "cyclonedx"
DOCKERFILE: Final = "dockerfile"
_MARKER: Final = "sys_platform == 'linux' and platform_machine == 'x86_64'"
FORMATS: Final = (REQUIREMENTS, PYLOCK, CONDA_LOCK, PIXI, CYCLONEDX, DOCKERFILE)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedPackages:
    """What is exported: wheels of a registry, and compiled ones if they are at hand.

    ``left_out`` are compiled wheels that no registry has, ``conda`` packages of conda channels: the
    formats here have none.
    """

    runtime: str
    variant: str
    python: str
    wheels: tuple[Artifact, ...]
    left_out: tuple[NativeWheel, ...] = ()
    conda: tuple[Artifact, ...] = ()

    @property
    def sorted_wheels(self) -> list[Artifact]:
        """Return the wheels by name."""
        return sorted(self.wheels, key=lambda wheel: (wheel.name, wheel.version))


def exported(
    lock: Lock, variant: str, *, python: str, compiled: Sequence[Artifact] | None = None
) -> ExportedPackages:
    """Return what to export of a variant; without ``compiled``, those wheels are left out."""
    own = lock.whole(variant)
    return ExportedPackages(
        runtime=lock.runtime,
        variant=variant,
        python=python,
        wheels=(*own.python, *(compiled or ())),
        left_out=() if compiled is not None else own.native,
        conda=tuple(package.artifact for package in own.conda),
    )


def requirements(what: ExportedPackages, wheels: str = "") -> str:
    """Return a requirements file; with ``wheels``, a directory, for that directory alone."""
    lines = [
        f"# mlruntime {what.runtime} ({what.variant}), for CPython {what.python} on Linux, x86_64.",
        "# The list is whole: pip install --no-deps -r, or uv pip sync.",
    ]
    lines += [
        f"# {wheel.name}=={wheel.version} is compiled by mlruntime: no registry has that wheel."
        for wheel in what.left_out
    ]
    lines += [f"# {one.name}=={one.version} comes from a conda channel." for one in what.conda]
    if wheels:
        lines += ["--no-index", f"--find-links {shlex.quote(wheels)}"]
    lines += [
        f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}"
        for wheel in what.sorted_wheels
    ]
    return "\n".join(lines) + "\n"


def pylock(what: ExportedPackages, wheels: str) -> str:
    """Return a ``pylock.toml`` (PEP 751) for the files of a directory, ``wheels``."""
    lines = [
        'lock-version = "1.0"',
        f"environments = [{_text(_MARKER)}]",
        f"requires-python = {_text(f'=={what.python}.*')}",
        'created-by = "mlruntime"',
    ]
    for wheel in what.sorted_wheels:
        path = f"{wheels.rstrip('/')}/{wheel.filename}"
        fields = (
            f"name = {_text(wheel.filename)}, path = {_text(path)}, size = {wheel.size},"
            f" hashes = {{ sha256 = {_text(wheel.sha256)} }}"
        )
        lines += [
            "",
            "[[packages]]",
            f"name = {_text(wheel.name)}",
            f"version = {_text(wheel.version)}",
            f"wheels = [{{ {fields} }}]",
        ]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """Return a basic string of TOML: JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
