"""The conda packages of each variant of a lock."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mlruntime.ecosystems.conda import ORIGIN as CONDA
from mlruntime.ecosystems.conda.solver import Solution, Virtual
from mlruntime.errors import InvalidDefinition, NoCompatibleVersions
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import CondaPackage
from mlruntime.locking.request import LockRequest
from mlruntime.matrix.parsing import VARIANTS

_INTERPRETER: Final = "python"


class CondaChannels(Protocol):
    """What ``conda.solver.Channels`` does."""

    def solve(
        self, specs: Iterable[str], virtual: Virtual, near: Solution | None = None
    ) -> Solution:
        """Return the packages that fulfil ``specs``."""


class HasChannels(Protocol):
    """Who knows where channels are."""

    def channels(self, names: tuple[str, ...], snapshot: str) -> CondaChannels:
        """Return channels at one moment, the first of them with the highest priority."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CondaSide:
    """The conda packages of a runtime: those that all variants have, and those of each alone."""

    common: tuple[CondaPackage, ...] = ()
    own: tuple[tuple[str, tuple[CondaPackage, ...]], ...] = ()

    @classmethod
    def of(cls, lock: Lock) -> "CondaSide":
        """Return those of a lock."""
        return cls(common=lock.conda, own=tuple((v.name, v.conda) for v in lock.variants))

    def variant(self, name: str) -> tuple[CondaPackage, ...]:
        """Return all that one variant has."""
        return (*self.common, *dict(self.own).get(name, ()))

    @property
    def python(self) -> str:
        """Return the version of the interpreter among them, ``""`` if there is none."""
        return next((p.artifact.version for p in self.common if p.name == _INTERPRETER), "")


NO_CONDA: Final = CondaSide()


def conda_side(
    request: LockRequest,
    registries: HasChannels,
    glibc: tuple[int, int],
    say: Callable[[str], None],
) -> CondaSide:
    """Solve each variant; one after the first has the first one's packages wherever they fit.

    Raises ``NoCompatibleVersions`` when variants need different versions of what the matrix does
    not declare to differ.
    """
    if not request.channels:
        return NO_CONDA
    opened = registries.channels(request.channels, request.snapshot)
    contracts, found = dict(request.contracts), dict[str, Solution]()
    near: Solution | None = None
    for name in request.variants:
        specs = [wanted.match_spec for wanted in request.of(CONDA, name)]
        contract = contracts.get(name)
        virtual = Virtual(
            glibc="{}.{}".format(*glibc), cuda=contract.cuda if contract is not None else ""
        )
        found[name] = near = opened.solve((*specs, *request.conda), virtual, near)
        say(f"conda, {name}: {len(near.packages)} packages")
    packages = {name: solution.packages for name, solution in found.items()}
    _refuse_undeclared(request, packages)
    common = set.intersection(*(set(p) for p in packages.values())) - _declared(request, packages)
    side = CondaSide(
        common=tuple(p for p in next(iter(packages.values())) if p in common),
        own=tuple((n, tuple(p for p in all_ if p not in common)) for n, all_ in packages.items()),
    )
    if not side.python and any(p.name == _INTERPRETER for all_ in packages.values() for p in all_):
        raise InvalidDefinition(
            "the variants have different Pythons",
            where=f"runtimes/{request.runtime}/runtime.yaml: conda",
            hint="ask for one build of python in conda.packages",
        )
    return side


def _declared(
    request: LockRequest, packages: Mapping[str, tuple[CondaPackage, ...]]
) -> set[CondaPackage]:
    """Return the packages that the matrix declares for some variants only."""
    names = {w.name for w in request.of(CONDA) if set(w.variants) != set(VARIANTS)}
    return {p for all_ in packages.values() for p in all_ if p.name in names}


def _refuse_undeclared(
    request: LockRequest, packages: Mapping[str, tuple[CondaPackage, ...]]
) -> None:
    """Raise unless what several variants have is of one version; builds may differ."""
    versions: dict[str, dict[str, str]] = {}
    declared = {p.name for p in _declared(request, packages)}
    for variant, found in packages.items():
        for package in found:
            if package.name not in declared:
                versions.setdefault(package.name, {})[variant] = package.artifact.version
    differing = {n: told for n, told in versions.items() if len(set(told.values())) > 1}
    if differing:
        raise NoCompatibleVersions(
            "the variants need different versions of conda packages",
            why="; ".join(
                f"{name}: " + ", ".join(f"{variant} {v}" for variant, v in told.items())
                for name, told in sorted(differing.items())
            ),
            hint="give the artifact of a component `variants: […]`, if the difference is meant",
        )


def python_packages(packages: Iterable[CondaPackage]) -> dict[str, str]:
    """Return the versions of those that are Python packages, by PEP 503 name.

    They need Python; that a package index calls them by the same name is supposed. One whose
    version a package index cannot have is left out.
    """
    found = {}
    for package in packages:
        needs = {words[0] for spec in package.depends if (words := spec.split())}
        if not needs & {"python", "python_abi"}:
            continue
        try:
            Version(package.artifact.version)
        except InvalidVersion:
            continue
        found[str(canonicalize_name(package.name))] = package.artifact.version
    return found
