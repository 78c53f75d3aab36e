"""The Python side of each variant of a lock, and what variants may differ in."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from mlruntime.ecosystems.native.inputs import (
    BuildEnvironment,
    Compiler,
    LoadedRecipe,
    native_wheel,
)
from mlruntime.ecosystems.native.recipe import UnpackedPackage
from mlruntime.ecosystems.pypi import ORIGIN as PYPI
from mlruntime.ecosystems.pypi.resolver import Static
from mlruntime.ecosystems.wanted import RequestedArtifact
from mlruntime.errors import NoCompatibleVersions
from mlruntime.lock.model import Variant
from mlruntime.lock.packages import Artifact, DummyPackage, NativeWheel
from mlruntime.locking.channels import NO_CONDA, CondaSide, python_packages
from mlruntime.locking.request import LockRequest
from mlruntime.matrix.parsing import VARIANTS

# NVIDIA's own libraries, as PyPI calls them.
_FOR_GPUS: Final = "nvidia-"
_LARGE_BYTES: Final = 20_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """What the package index is asked for one variant."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    static: tuple[Static, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Closure:
    """All Python packages of one variant: wheels, sdists to be built here, and dummy packages."""

    wheels: tuple[Artifact, ...]
    sdists: tuple[Artifact, ...]
    dummy_packages: tuple[DummyPackage, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonSide:
    """What resolving the Python packages of a runtime takes.

    ``recipes`` are those of its packages that are built here; ``unpacked`` the Debian packages
    that such a build lays out; ``conda`` are packages that are there already.
    """

    request: LockRequest
    recipes: Mapping[str, LoadedRecipe]
    compiler: Compiler
    build_environment: BuildEnvironment
    unpacked: Mapping[UnpackedPackage, Artifact]
    conda: CondaSide = NO_CONDA

    def variants(self, say: Callable[[str], None]) -> list[Variant]:
        """Return all variants, the wheels they have in common still in each of them.

        Every variant after the first one is held to the first one's versions wherever the matrix
        does not declare a difference. Raises ``NoCompatibleVersions`` when that cannot be.
        """
        found: list[Variant] = []
        own = declared(self.request)
        for name in self.request.variants:
            held = tuple(a for a in found[0].python if a.name not in own) if found else ()
            found.append(self._variant(name, held))
            count, native = len(found[-1].python), len(found[-1].native)
            say(f"Python, {name}: {count} wheels, {native} more to be built here")
            for sentence in self.for_gpus(found[-1], held):
                say(sentence)
        refuse_undeclared(found, own)
        return found

    def _variant(self, name: str, held: tuple[Artifact, ...]) -> Variant:
        found = self.closure(name, held)
        return Variant(
            name=name,
            python=found.wheels,
            native=tuple(self._native(name, a, found.wheels) for a in found.sdists),
            dummy_packages=found.dummy_packages,
            components=self.request.own(name),
            contract=dict(self.request.contracts).get(name),
            conda=dict(self.conda.own).get(name, ()),
        )

    def closure(self, variant: str, held: tuple[Artifact, ...]) -> Closure:
        """Return all packages of one variant; those of ``held`` have the versions given there.

        A package that another one stands for is resolved like any, so that what requires it has a
        say in its version, with nothing but that other one as its requirement; then it is left
        out. Its dummy package is there even if nothing requires it: what users install may.
        """
        provided = self._provided(variant)
        there = python_packages(self.conda.variant(variant))
        question = self._question(variant, provided, held)
        found = self.compiler.compile(
            question.requirements, static=question.static, constraints=question.constraints
        )
        return Closure(
            wheels=tuple(
                a for a in found if a.kind == "wheel" and a.name not in (provided.keys() | there)
            ),
            sdists=tuple(a for a in found if a.kind == "sdist"),
            dummy_packages=tuple(provided[other] for other in sorted(provided)),
        )

    def _provided(self, variant: str) -> dict[str, DummyPackage]:
        return {
            other: DummyPackage(name=other, version=w.version, by=w.name)
            for w in self.request.of(PYPI, variant)
            for other in w.provides
        }

    def _question(
        self, variant: str, provided: Mapping[str, DummyPackage], held: tuple[Artifact, ...]
    ) -> _Question:
        wanted = self.request.of(PYPI, variant)
        # Ask a registry for the release that is patched; ours is not there.
        versions = {w.name: published(w, self.recipes) for w in wanted}
        static = [
            Static(name=n, version=v, requires=self.recipes[n].recipe.requires(v))
            for n, v in versions.items()
            if n in self.recipes
        ]
        static += [
            Static(name=s.name, version=s.version, requires=(f"{s.by}=={s.version}",), built=False)
            for s in provided.values()
        ]
        there = python_packages(self.conda.variant(variant))
        static += [
            Static(name=n, version=v, requires=(), built=False)
            for n, v in there.items()
            if n not in provided and n not in versions
        ]
        limits = [f"{s.name}=={s.version}" for s in provided.values()]
        limits += [f"{n}=={v}" for n, v in there.items() if n not in provided]
        limits += [f"{a.name}=={a.version}" for a in held]
        requirements = [w.requirement(versions[w.name]) for w in wanted]
        return _Question(
            requirements=(*requirements, *self.request.python),
            constraints=tuple(limits),
            static=tuple(static),
        )

    def for_gpus(self, variant: Variant, held: tuple[Artifact, ...]) -> Iterator[str]:
        """Yield a sentence for each large CUDA library in a variant that asks for no GPU.

        Packages that use GPUs if there are some require them everywhere (xgboost and NCCL).
        """
        if variant.contract is not None:
            return
        question = self._question(variant.name, self._provided(variant.name), held)
        for artifact in variant.python:
            if artifact.name.startswith(_FOR_GPUS) and artifact.size >= _LARGE_BYTES:
                by = self.compiler.requirers(
                    artifact.name,
                    question.requirements,
                    static=question.static,
                    constraints=question.constraints,
                )
                who = f"required by {' and '.join(by)}" if by else "asked for in runtime.yaml"
                yield (
                    f"Python, {variant.name}: {artifact.name} {artifact.version} is for GPUs, and"
                    f" adds {artifact.size / 1e6:.0f} MB to this image; it is {who}"
                )

    def _native(self, variant: str, sdist: Artifact, packages: tuple[Artifact, ...]) -> NativeWheel:
        wanted = self.request.of(PYPI, variant)
        distributions: dict[str, tuple[str, ...]] = {}
        for one in wanted:
            distributions[one.component] = (*distributions.get(one.component, ()), one.name)
        loaded = self.recipes[sdist.name].of(variant)
        return native_wheel(
            loaded,
            next(w.version for w in wanted if w.name == sdist.name),
            sdist,
            packages=packages,
            distributions=distributions,
            compiler=self.compiler,
            build_environment=self.build_environment,
            build_depends_unpacked=tuple(
                self.unpacked[package] for package in loaded.recipe.build_depends_unpacked
            ),
        )


def published(wanted: RequestedArtifact, recipes: Mapping[str, LoadedRecipe]) -> str:
    """Return the version that a registry has of what is wanted: a patched release's is its base."""
    loaded = recipes.get(wanted.name)
    return loaded.recipe.release(wanted.version).of if loaded else wanted.version


def declared(request: LockRequest) -> frozenset[str]:
    """Return the packages that the matrix declares for some variants only."""
    return frozenset(
        name
        for w in request.of(PYPI)
        if set(w.variants) != set(VARIANTS)
        for name in (w.name, *w.provides)
    )


def refuse_undeclared(variants: list[Variant], own: frozenset[str]) -> None:
    """Raise ``NoCompatibleVersions`` unless all have the same wheels but for those declared."""
    wheels = {v.name: {a.name: a.version for a in v.python if a.name not in own} for v in variants}
    names = sorted({name for found in wheels.values() for name in found})
    differing = [n for n in names if len({found.get(n) for found in wheels.values()}) > 1]
    if not differing:
        return
    said = "; ".join(
        f"{name}: "
        + ", ".join(f"{variant} {found.get(name, 'none')}" for variant, found in wheels.items())
        for name in differing
    )
    raise NoCompatibleVersions(
        "the variants differ in packages that the matrix does not declare to differ",
        where="matrix.yaml: components.….artifacts",
        why=said,
        hint="give the artifact of a component `variants: […]`, if the difference is meant",
    )


def split(
    request: LockRequest, variants: list[Variant]
) -> tuple[tuple[Artifact, ...], tuple[Variant, ...]]:
    """Return the wheels that every variant has, and the variants with the rest.

    What the matrix declares for some variants only is never common, even when just one variant
    is locked: locking another later must not move it.
    """
    own = declared(request)
    shared = set.intersection(*({a.sha256 for a in v.python} for v in variants))
    common = tuple(a for a in variants[0].python if a.sha256 in shared and a.name not in own)
    taken = {a.sha256 for a in common}
    rest = (
        replace(v, python=tuple(a for a in v.python if a.sha256 not in taken)) for v in variants
    )
    return common, tuple(rest)
