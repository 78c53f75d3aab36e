"""Can this host run that environment? What it needs beside what the host has. Core: no I/O."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from mlruntime.doctor.findings import Finding
from mlruntime.host.system import System

# What a component's wheels need of the processor, as Linux calls it. TensorFlow's are compiled for
# AVX since 1.6, say its maintainers: https://github.com/tensorflow/tensorflow/issues/29788.
_FEATURES: Final = {"tensorflow": ("avx",)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What an environment needs of its host.

    ``machine`` is a processor, ``features`` what it must have, each with the component that needs
    it; ``glibc`` the oldest that will do; ``python`` a minor version, ``java`` a major one, ``""``
    if there is none.
    """

    machine: str
    features: tuple[tuple[str, str], ...]
    glibc: str
    python: str
    java: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What a program of an environment said of its version, or why it said nothing."""

    version: str = ""
    trouble: str = ""


def features_of(components: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return what these components need of a processor: (feature, component)."""
    return tuple((f, name) for name in components for f in _FEATURES.get(name, ()))


def examine_environment(
    needs: Needs, system: System, python: Answered, java: Answered, repair: str
) -> tuple[Finding, ...]:
    """Compare a host with what an environment needs; ``repair`` is the command that mends one."""
    return tuple(_findings(needs, system, python, java, repair))


def _findings(
    needs: Needs, system: System, python: Answered, java: Answered, repair: str
) -> Iterator[Finding]:
    yield _processor(needs, system)
    yield _glibc(needs, system)
    yield _program(
        "python", needs.python, python, f"`{repair}` looks for another Python {needs.python}"
    )
    if needs.java:
        yield _program("java", needs.java, java, f"`{repair}` puts Java's files back")


def _processor(needs: Needs, system: System) -> Finding:
    if not system.runs(needs.machine):
        return Finding(
            name="processor",
            status="missing",
            found=f"{system.machine}; what is locked is compiled for {needs.machine}",
            hint=f"use a host with {needs.machine}",
        )
    if not system.features:
        return Finding(
            name="processor",
            status="not-run",
            found=f"{system.machine}; it does not say what it can do",
            needed=False,
        )
    lacking = [f"{name} needs {f}" for f, name in needs.features if f not in system.features]
    return Finding(
        name="processor",
        status="missing" if lacking else "ok",
        found=", ".join([system.level, *lacking]),
        hint="use a newer processor; on a virtual machine, show the host's own to it"
        if lacking
        else None,
    )


def _glibc(needs: Needs, system: System) -> Finding:
    if not system.glibc:
        return Finding(
            name="glibc",
            status="missing",
            found="another C library, such as musl",
            hint="use a distribution with glibc, or the image",
        )
    enough = system.has_glibc(needs.glibc)
    return Finding(
        name="glibc",
        status="ok" if enough else "missing",
        found=f"{system.glibc} (needed: {needs.glibc} or newer)",
        hint=None if enough else "use a newer distribution, or the image",
    )


def _program(name: str, wanted: str, answered: Answered, hint: str) -> Finding:
    if answered.trouble:
        return Finding(name=name, status="missing", found=answered.trouble, hint=hint)
    fits = f"{answered.version}.".startswith(f"{wanted}.")
    return Finding(
        name=name,
        status="ok" if fits else "missing",
        found=answered.version if fits else f"{answered.version}; the lock has {wanted}",
        hint=None if fits else hint,
    )
