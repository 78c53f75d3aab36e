"""Versions of releases, computed from the difference of two locks. Core: no I/O.

A version is ``MAJOR.MINOR.PATCH``; its first two numbers are those of the runtime's id (``6.0``).
So only a patch is a new version of the same runtime: a minor or major change is a runtime of its
own, which can live beside the old one.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import total_ordering
from itertools import chain
from typing import Final, Literal

from packaging.version import InvalidVersion, Version

from mlruntime.errors import UsageError
from mlruntime.lock.model import CORE, Lock
from mlruntime.lock.packages import Artifact, CondaPackage

Size = Literal["none", "patch", "minor", "major"]
_ORDER: Final[tuple[Size, ...]] = ("none", "patch", "minor", "major")
# DESIGN's rule: a new one of these, counted to so many numbers, is a major version.
_MAJOR: Final = {"spark": 1, "python": 2, "cuda": 1, "keras": 1}
_ID: Final = re.compile(r"(\d+)\.(\d+)(-[a-z0-9.-]+)?")
_SHOWN: Final = 12


@total_ordering
@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeVersion:
    """A version of a runtime: ``6.0.3-ml`` of ``6.0-ml``."""

    runtime: str
    patch: int

    @property
    def text(self) -> str:
        """Return the version as tags have it."""
        found = _ID.fullmatch(self.runtime)
        assert found is not None
        return f"{found[1]}.{found[2]}.{self.patch}{found[3] or ''}"

    def tag(self, variant: str | None = None) -> str:
        """Return the tag of the version's index, or of one variant's image."""
        return self.text + (f"-{variant}" if variant else "")

    def __lt__(self, other: "RuntimeVersion") -> bool:
        """Compare two versions of one runtime."""
        return self.patch < other.patch

    def next(self) -> "RuntimeVersion":
        """Return the version after this one."""
        return RuntimeVersion(runtime=self.runtime, patch=self.patch + 1)


def first(runtime: str) -> RuntimeVersion:
    """Return a runtime's first version; ``UsageError`` for an id without two numbers."""
    if not _ID.fullmatch(runtime):
        raise UsageError(
            f"{runtime} has no versions",
            why="the id of a runtime that is released begins with two numbers",
            hint="for example 6.0-ml",
        )
    return RuntimeVersion(runtime=runtime, patch=0)


def parse_version(runtime: str, text: str) -> RuntimeVersion:
    """Read a version of a runtime, or raise ``UsageError``."""
    begin, end = _around(runtime)
    number = text.removeprefix(begin).removesuffix(end)
    if not text.startswith(begin) or not text.endswith(end) or not number.isdecimal():
        raise UsageError(
            f"{text!r} is not a version of {runtime}", hint=f"for example {begin}3{end}"
        )
    return RuntimeVersion(runtime=runtime, patch=int(number))


def runtime_of(version: str) -> str:
    """Return the id of the runtime that a version is of: ``6.0-ml`` for ``6.0.3-ml``."""
    return re.sub(r"^(\d+\.\d+)\.\d+", r"\1", version)


def _around(runtime: str) -> tuple[str, str]:
    first(runtime)
    found = _ID.fullmatch(runtime)
    assert found is not None
    return f"{found[1]}.{found[2]}.", found[3] or ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """How far a lock is from the one before, and each reason, the largest first."""

    size: Size
    reasons: tuple[str, ...]


def step(before: Lock | None, after: Lock) -> Step:
    """Compare what two locks of a runtime have in their flavour ``core``.

    Without one before, everything is new.
    """
    if before is None:
        return Step(size="patch", reasons=("the first version",))
    before, after = before.cut(CORE), after.cut(CORE)
    found = [*_components(before, after)]
    if not found:
        found = [("patch", text) for text in _artifacts(before, after)]
    if not found:
        return Step(size="none", reasons=("the same artifacts",))
    found.sort(key=lambda item: -_ORDER.index(item[0]))
    return Step(size=found[0][0], reasons=tuple(text for _, text in found))


def _present(lock: Lock) -> dict[str, str]:
    absent = {omission.component for omission in lock.all_omitted}
    return {n: v for n, v in lock.all_components.items() if n not in absent}


def _components(before: Lock, after: Lock) -> list[tuple[Size, str]]:
    """Return what components changed: (size, words)."""
    old, new = _present(before), _present(after)
    found: list[tuple[Size, str]] = []
    for name in sorted(old.keys() | new.keys()):
        a, b = old.get(name), new.get(name)
        if a == b:
            continue
        if a is None or b is None:
            found.append(("minor", f"{name} {b} is new" if a is None else f"{name} {a} is gone"))
            continue
        found.append((_size(name, a, b), f"{name} {a} → {b}"))
    return found


def _size(name: str, a: str, b: str) -> Size:
    numbers = _MAJOR.get(name)
    if numbers and _numbers(a)[:numbers] != _numbers(b)[:numbers]:
        return "major"
    return "minor" if _numbers(a)[:2] != _numbers(b)[:2] else "patch"


def _numbers(text: str) -> tuple[int, ...] | tuple[str, ...]:
    try:
        release = Version(text).release
    except InvalidVersion:
        return tuple(text.split("."))
    return release + (0,) * (2 - len(release))


def conda_files(packages: Iterable[CondaPackage]) -> tuple[Artifact, ...]:
    """Return the files of conda packages."""
    return tuple(package.artifact for package in packages)


def all_artifacts(lock: Lock) -> dict[tuple[str, str, str], Artifact]:
    """Return what a lock's images are made of, by (kind, name, variant or "")."""
    common = (
        (a, "")
        for a in chain(lock.os, lock.python, lock.jars, lock.packages, conda_files(lock.conda))
    )
    own = ((a, v.name) for v in lock.variants for a in (*v.python, *conda_files(v.conda)))
    return {(a.kind, a.name, variant): a for a, variant in chain(common, own)}


def _artifacts(before: Lock, after: Lock) -> list[str]:
    old, new = all_artifacts(before), all_artifacts(after)
    found = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if a is None or b is None:
            found.append(f"{key[1]} {'is new' if a is None else 'is gone'}")
        elif a.sha256 != b.sha256:
            found.append(f"{key[1]} {a.version} → {b.version}")
    if _wheels(before) != _wheels(after):
        found.append("a native wheel is compiled anew")
    rest = len(found) - _SHOWN
    return found if rest <= 0 else [*found[:_SHOWN], f"and {rest} more"]


def _wheels(lock: Lock) -> dict[tuple[str, str], str]:
    return {(v.name, w.name): w.key for v in lock.variants for w in v.native}
