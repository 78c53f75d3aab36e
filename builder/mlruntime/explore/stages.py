"""The stages of a sweep as they run on this host: what the verbs do, for one combination."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Final

from packaging.specifiers import SpecifierSet

from mlruntime.cluster.containers import ContainerClusters
from mlruntime.definitions.files import Definitions
from mlruntime.definitions.runtime import RuntimeDefinition
from mlruntime.documents.reading import canonical_json, did_you_mean
from mlruntime.ecosystems.native.inputs import LoadedRecipe, load_recipes
from mlruntime.errors import Unavailable, UsageError
from mlruntime.explore.combinations import Combination
from mlruntime.explore.sweep import EngineImage, Resolved
from mlruntime.lock.model import Lock
from mlruntime.locking.assembly import DebianArchive, assemble
from mlruntime.locking.registries import HostRegistries
from mlruntime.locking.request import LockRequest, ask
from mlruntime.locking.staleness import input_digests, recipes_digest
from mlruntime.matrix.model import Matrix
from mlruntime.resolve.resolution import resolve
from mlruntime.validation.catalog import CHECKS
from mlruntime.validation.report import Report
from mlruntime.validation.runner import Observer
from mlruntime.validation.session import Subject, planned, validate
from mlruntime.workflows.build import build_locked
from mlruntime.workflows.host import Host
from mlruntime.workflows.locked import libraries
from mlruntime.workflows.planning import planned_image
from mlruntime.workflows.subjects import refuse_other_plan

_REFERENCE: Final = "mlruntime/explore"
_TAG: Final = 128  # the longest tag an image can have (OCI distribution specification)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What is the same for every combination; a change of it is a new trial of all of them.

    ``omit`` names components that a registry may lack, ``only`` the checks that count.
    """

    variant: str
    workers: int
    omit: tuple[str, ...] = ()
    only: tuple[str, ...] = ()


class SharedRegistries:
    """Registries that read each Debian release once: combinations then share their system."""

    def __init__(self, registries: HostRegistries) -> None:
        self._archive = cache(registries.archive)
        self.channels = registries.channels
        self.compiler = registries.compiler
        self.repository = registries.repository
        self.shipped = registries.shipped
        self.reach = registries.reach

    def archive(self, release: str, areas: tuple[str, ...] = ("main",)) -> DebianArchive:
        """Return a Debian release, or some areas of it."""
        return self._archive(release, areas)


@dataclass(kw_only=True)
class HostStages:
    """The stages of one sweep; ``loaded`` are the images that it has put into the engine.

    ``observer`` gets the number of checks and where to say how they go.
    """

    definitions: Definitions
    matrix: Matrix
    base: RuntimeDefinition
    trial: Trial
    host: Host
    registries: HostRegistries
    observer: Callable[[int, Callable[[str], None]], Observer]
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse a variant that the runtime does not have."""
        if self.trial.variant not in self.base.variants:
            hint = did_you_mean(self.trial.variant, self.base.variants)
            raise UsageError(
                f"{self.base.runtime} has no variant {self.trial.variant!r}", hint=hint
            )

    @cached_property
    def _recipes(self) -> dict[str, LoadedRecipe]:
        return load_recipes(self.definitions.images_folder())

    @cached_property
    def _registries(self) -> SharedRegistries:
        return SharedRegistries(self.registries)

    def _request(self, combination: Combination) -> LockRequest:
        definition = replace(
            self.base,
            runtime=f"{self.base.runtime}.{combination.name}",
            variants=(self.trial.variant,),
            request=tuple({**dict(self._wanted()), **dict(combination.request)}.items()),
            flavours=(),
        )
        return ask(self.matrix, definition, resolve(self.matrix, definition.request))

    def _wanted(self) -> Iterator[tuple[str, SpecifierSet]]:
        """Yield what the runtime asks for in the variant that is explored."""
        for name, specifier in self.base.request:
            if self.trial.variant in self.matrix.components[name].variants:
                yield name, specifier

    def resolve(self, combination: Combination) -> Resolved:
        """Choose versions."""
        request = self._request(combination)
        tried = {
            "versions": request.versions,
            "python": request.python,
            "debian": request.debian,
            "snapshot": request.snapshot,
            "variants": request.variants,
            "recipes": recipes_digest(self._recipes),
            "omit": sorted(self.trial.omit),
            "only": sorted(self.trial.only),
            "workers": self.trial.workers,
        }
        key = hashlib.sha256(canonical_json(tried).encode()).hexdigest()
        return Resolved(key=key, versions=request.versions)

    def lock(self, combination: Combination, say: Callable[[str], None]) -> Lock:
        """Ask the registries."""
        request = self._request(combination)
        return assemble(
            request,
            inputs=input_digests(request, self._recipes),
            recipes=self._recipes,
            registries=self._registries,
            omit=self.trial.omit,
            say=say,
        )

    def build(
        self,
        combination: Combination,
        lock: Lock,
        say: Callable[[str], None],
        log: Callable[[str], None],
    ) -> EngineImage:
        """Compose the image from the store, and load it."""
        reference = f"{_REFERENCE}:{combination.name[:_TAG]}"
        built = build_locked(
            self.definitions,
            lock,
            self.trial.variant,
            replace(self.host, say=say),
            reference=reference,
            into_engine=True,
            record=log,
        )
        self.loaded.append(reference)
        assert built.loaded is not None
        return EngineImage(image=built.loaded.id, digest=built.image.manifest.digest)

    def validate(self, lock: Lock, built: EngineImage, say: Callable[[str], None]) -> Report:
        """Run the checks that count."""
        trial = self.trial
        subject = Subject(
            image=built.image,
            lock=lock,
            variant=trial.variant,
            workers=trial.workers,
            manifest=built.digest,
            plan=planned_image(self.definitions, lock, trial.variant).digest,
            libraries=libraries(self.definitions),
        )
        engine = self.host.engine()
        loaded = engine.image(built.image)
        if loaded is None:
            raise Unavailable(
                "the image has gone from the engine since it was loaded",
                where=built.image,
                hint="let nothing remove images while a sweep runs, and run it again",
            )
        refuse_other_plan(
            loaded,
            subject,
            shown=f"the image of {lock.runtime}",
            hint="change nothing below --root while a sweep runs; run it again",
        )
        total = len(planned(CHECKS, trial.only, lock, trial.variant).names)
        return validate(
            ContainerClusters(engine),
            subject,
            CHECKS,
            only=trial.only,
            say=say,
            observer=self.observer(total, say),
        )

    def discard(self, combination: Combination) -> None:
        """Remove all images but the last from the engine: the next one builds on its layers."""
        self._remove(self.loaded[:-1])

    def close(self) -> None:
        """Remove the last image as well."""
        self._remove(list(self.loaded))

    def _remove(self, references: list[str]) -> None:
        for reference in references:
            with suppress(Unavailable):
                self.host.engine().remove_image(reference)
            self.loaded.remove(reference)


def without_rules(matrix: Matrix, ignored: tuple[str, ...]) -> Matrix:
    """Return the matrix less some rules; an unknown one is a ``UsageError``."""
    for ident in ignored:
        if ident not in matrix.rules_by_id:
            hint = did_you_mean(ident, matrix.rules_by_id)
            raise UsageError(f"--ignore-rule: there is no rule {ident!r}", hint=hint)
    kept = [rule for rule in matrix.rules if rule.id not in ignored]
    rules = tuple(replace(rule, index=index) for index, rule in enumerate(kept))
    return replace(matrix, rules=rules)
