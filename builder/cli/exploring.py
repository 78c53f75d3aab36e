"""``mlruntime matrix explore``: the stages as the other verbs run them, and what is shown."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Final

import typer
from packaging.specifiers import SpecifierSet

from builder.build import build as build_image
from builder.cli.build import created, fetched, planned_image
from builder.cli.context import Context
from builder.cli.matrix import read_matrix, read_runtime
from builder.cli.output import emit, say
from builder.cli.stores import host_sources, store_root
from builder.cli.validate import Progress, libraries
from builder.definitions import Definitions, read_text
from builder.document import canonical_json, did_you_mean
from builder.engine import Engine
from builder.errors import Unavailable, UsageError
from builder.exploring.combinations import Combination, Space, parse_settings, parse_space
from builder.exploring.evidence import (
    evidence_file,
    evidence_json,
    evidence_page,
    findings,
    is_evidence,
    with_findings,
)
from builder.exploring.record import LEVELS, Record
from builder.exploring.state import StateFolder, evidence_records
from builder.exploring.sweep import Built, Limits, Outcome, Resolved, Say, Sweep
from builder.facts import Matrix
from builder.image import load, remember_manifest
from builder.lock import Lock
from builder.locking.asked import Asked, ask
from builder.locking.assemble import Archive, assemble
from builder.locking.native import load_recipes
from builder.locking.registries import HostRegistries
from builder.render_matrix import Table, plain
from builder.report import Report
from builder.resolve import resolve
from builder.runtime import RuntimeDefinition
from builder.staleness import input_digests
from builder.store import Store, write_whole
from builder.validation.catalog import CHECKS
from builder.validation.expectation import selected
from builder.validation.session import IMAGE_CHECK, Subject, planned, validate
from builder.web import Web
from builder.workshop import Workshop

INCOMPLETE: Final = 8
PAGE: Final = "docs/evidence.md"
BEGIN, END = "<!-- evidence -->", "<!-- /evidence -->"
_REFERENCE: Final = "mlruntime/explore"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What was asked for on the command line."""

    runtime: str
    space: tuple[str, ...]
    settings: tuple[str, ...]
    ignored: tuple[str, ...]
    omit: tuple[str, ...]
    only: tuple[str, ...]
    variant: str
    workers: int
    until: str
    budget: float | None
    most: int | None
    retry: bool
    state: Path | None
    write: bool
    as_json: bool


def run(context: Context, wishes: Wishes) -> None:
    """Be the verb; exits with 8 while combinations are left."""
    if wishes.until not in LEVELS:
        hint = did_you_mean(wishes.until, LEVELS)
        raise UsageError(f"--until: unknown level {wishes.until!r}", hint=hint)
    selected((IMAGE_CHECK, *(check.name for check in CHECKS)), wishes.only)
    definitions, matrix = Definitions(context.root), read_matrix(context)
    space = read_space(wishes, matrix)
    store = Store(store_root())
    state = StateFolder(wishes.state or store.root / "explore" / wishes.runtime)
    with host_stages(context, definitions, matrix, space, store, wishes) as stages:
        sweep = Sweep(
            space.combinations,
            state,
            stages,
            runtime=wishes.runtime,
            limits=Limits(
                seconds=wishes.budget, most=wishes.most, goal=wishes.until, retry=wishes.retry
            ),
            say=say,
        )
        try:
            outcome = sweep.run()
        except KeyboardInterrupt:
            say(f"stopped; the state is in {state.root}: the same command goes on from there")
            raise
    written = write_evidence(definitions, state, outcome) if wishes.write else ()
    emit(_json(outcome, state, written), _text(outcome, state, written), wishes.as_json)
    if outcome.left:
        raise typer.Exit(INCOMPLETE)


def read_space(wishes: Wishes, matrix: Matrix) -> Space:
    """Return the space that ``--space`` names: axes, or one file of them."""
    files = [Path(word) for word in wishes.space if "=" not in word]
    if not files:
        return parse_settings(wishes.space, wishes.settings, matrix)
    if len(wishes.space) > 1:
        raise UsageError("--space is one file, or axes", hint="write the axes into the file")
    found = parse_space(
        read_text(files[0], str(files[0]), UsageError), file=str(files[0]), matrix=matrix
    )
    return replace(found, asked=(*found.asked, *wishes.settings))


# the stages


class SharedRegistries:
    """Registries that read each Debian release once: combinations then share their system."""

    def __init__(self, registries: HostRegistries) -> None:
        self._archive = cache(registries.archive)
        self.compiler = registries.compiler
        self.repository = registries.repository

    def archive(self, release: str, areas: tuple[str, ...] = ("main",)) -> Archive:
        """Return a Debian release, or some areas of it."""
        return self._archive(release, areas)


@dataclass(kw_only=True)
class HostStages:
    """The stages of one sweep; ``loaded`` are the images that it has put into the engine."""

    definitions: Definitions
    matrix: Matrix
    base: RuntimeDefinition
    store: Store
    ca_bundle: Path | None
    registries: Callable[[], SharedRegistries]
    engine: Callable[[], Engine]
    wishes: Wishes
    loaded: list[str] = field(default_factory=list)

    @cached_property
    def _images(self) -> str:
        return dict(input_digests(self.definitions.root, self.wishes.runtime))["images"]

    def _asked(self, combination: Combination) -> Asked:
        definition = replace(
            self.base,
            runtime=f"{self.base.runtime}.{combination.name}",
            variants=(self.wishes.variant,),
            request=tuple({**dict(self._wanted()), **dict(combination.request)}.items()),
        )
        return ask(self.matrix, definition, resolve(self.matrix, definition.request))

    def _wanted(self) -> Iterator[tuple[str, SpecifierSet]]:
        """Yield what the runtime asks for in the variant that is explored."""
        for name, specifier in self.base.request:
            if self.wishes.variant in self.matrix.components[name].variants:
                yield name, specifier

    def resolve(self, combination: Combination) -> Resolved:
        """Choose versions."""
        asked = self._asked(combination)
        tried = {
            "versions": asked.versions,
            "python": asked.python,
            "debian": asked.debian,
            "snapshot": asked.snapshot,
            "variants": asked.variants,
            "images": self._images,
            "omit": sorted(self.wishes.omit),
            "only": sorted(self.wishes.only),
            "workers": self.wishes.workers,
        }
        key = hashlib.sha256(canonical_json(tried).encode()).hexdigest()
        return Resolved(key=key, versions=asked.versions)

    def lock(self, combination: Combination, say: Say) -> Lock:
        """Ask the registries."""
        return assemble(
            self._asked(combination),
            inputs=input_digests(self.definitions.root, self.wishes.runtime),
            recipes=load_recipes(self.definitions.root / "images"),
            registries=self.registries(),
            omit=self.wishes.omit,
            say=say,
        )

    def build(self, combination: Combination, lock: Lock, say: Say, log: Say) -> Built:
        """Compose the image from the store, and load it."""
        shop = Workshop(
            store=self.store,
            fetch=partial(fetched, self.store, self.ca_bundle),
            engine=self.engine,
            say=say,
            images=self.definitions.image_files(),
            record=log,
        )
        reference = f"{_REFERENCE}:{combination.name[:128]}"
        plan = planned_image(self.definitions, lock, self.wishes.variant)
        try:
            image = build_image(plan, lock, shop, reference=reference, created=created(lock))
            load(image, self.store, self.engine())
            remember_manifest(image, self.store)
        finally:
            shop.clear()
        self.loaded.append(reference)
        return Built(image=image.config.digest, digest=image.manifest.digest)

    def validate(self, lock: Lock, built: Built, say: Say) -> Report:
        """Run the checks that were asked for."""
        subject = Subject(
            image=built.image,
            lock=lock,
            variant=self.wishes.variant,
            workers=self.wishes.workers,
            manifest=built.digest,
            libraries=libraries(self.definitions),
        )
        total = len(planned(CHECKS, self.wishes.only, lock, self.wishes.variant).names)
        return validate(
            self.engine(),
            subject,
            CHECKS,
            only=self.wishes.only,
            say=say,
            observer=Progress(say=say, total=total),
        )

    def discard(self, combination: Combination) -> None:
        """Take all images but the last out of the engine: the next one is built upon its layers."""
        self._remove(self.loaded[:-1])

    def close(self) -> None:
        """Take out the last image as well."""
        self._remove(list(self.loaded))

    def _remove(self, references: list[str]) -> None:
        for reference in references:
            with suppress(Unavailable):
                self.engine().remove_image(reference)
            self.loaded.remove(reference)


@contextmanager
def host_stages(
    context: Context,
    definitions: Definitions,
    matrix: Matrix,
    space: Space,
    store: Store,
    wishes: Wishes,
) -> Iterator[HostStages]:
    """Yield the stages on this host; the engine and the registries are reached when needed."""
    folder = definitions.folder(wishes.runtime)
    base = read_runtime(folder, matrix).with_settings(space.asked)
    if wishes.variant not in base.variants:
        hint = did_you_mean(wishes.variant, base.variants)
        raise UsageError(f"{base.runtime} has no variant {wishes.variant!r}", hint=hint)
    sources = host_sources(context.ca_bundle)
    with store.scratch() as scratch, Web(sources) as web:

        @cache
        def registries() -> SharedRegistries:
            return SharedRegistries(
                HostRegistries(
                    sources=sources, web=web, store=store, scratch=scratch, environ=os.environ
                )
            )

        stages = HostStages(
            definitions=definitions,
            matrix=without_rules(matrix, wishes.ignored),
            base=base,
            store=store,
            ca_bundle=context.ca_bundle,
            registries=registries,
            engine=cache(Engine.connect),
            wishes=wishes,
        )
        try:
            yield stages
        finally:
            stages.close()


def without_rules(matrix: Matrix, ignored: tuple[str, ...]) -> Matrix:
    """Return the matrix less some rules; an unknown one is a ``UsageError``."""
    for ident in ignored:
        if ident not in matrix.edges_by_id:
            hint = did_you_mean(ident, matrix.edges_by_id)
            raise UsageError(f"--ignore-rule: there is no rule {ident!r}", hint=hint)
    kept = [edge for edge in matrix.edges if edge.id not in ignored]
    edges = tuple(replace(edge, index=index) for index, edge in enumerate(kept))
    return replace(matrix, edges=edges)


# the evidence


def write_evidence(
    definitions: Definitions, state: StateFolder, outcome: Outcome
) -> tuple[str, ...]:
    """Write the records, the edges they prove and the page; return the files that changed."""
    root, texts = definitions.root, {}
    for record in outcome.records:
        if is_evidence(record):
            report = state.text(record.name, "report") if record.checks else None
            kept = evidence_json(record, json.loads(report) if report else None)
            text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
            write_whole(root / evidence_file(record), text)
            texts[evidence_file(record)] = text
    records = evidence_records(root)
    facts = read_text(root / "matrix.yaml", "matrix.yaml")
    changed = with_findings(facts, findings(read_matrix(Context(root=root)), records))
    files = list(texts)
    if changed != facts:
        write_whole(root / "matrix.yaml", changed)
        files.append("matrix.yaml")
    page = root / PAGE
    if page.is_file():
        old = read_text(page, PAGE)
        before, _, rest = old.partition(BEGIN)
        _, _, after = rest.partition(END)
        new = f"{before}{BEGIN}\n{evidence_page(records)}\n{END}{after}"
        if new != old:
            write_whole(page, new)
            files.append(PAGE)
    return tuple(files)


# what is shown


def _json(outcome: Outcome, state: StateFolder, written: tuple[str, ...]) -> dict[str, Any]:
    return {
        "state": str(state.root),
        "combinations": [record.to_dict() for record in outcome.records],
        "left": [combination.name for combination in outcome.left],
        "why": outcome.why,
        "written": list(written),
    }


def _text(outcome: Outcome, state: StateFolder, written: tuple[str, ...]) -> str:
    left = {combination.name for combination in outcome.left}
    ended = [record for record in outcome.records if record.name not in left]
    rows = tuple((r.text, r.level or "-", _ending(r), f"{_spent(r):.0f}") for r in ended)
    columns = ("combination", "level", "then", "seconds")
    parts = [plain(Table(title="Combinations", columns=columns, rows=rows))] if rows else []
    for record in ended:
        if failure := record.failure:
            lines = [f"{record.text}: {failure.stage} failed: {failure.kind}: {failure.what}"]
            lines += [f"  | {line}" for line in failure.lines]
            lines += [f"  log: {failure.log}"] if failure.log else []
            parts.append("\n".join(lines))
    if outcome.left:
        why = f": {outcome.why}" if outcome.why else ""
        parts.append("\n".join([f"Left{why}", *(f"  {c.text}" for c in outcome.left)]))
    parts += [f"written: {', '.join(written)}"] if written else []
    parts.append(f"The state is in {state.root}")
    return "\n\n".join(parts)


def _ending(record: Record) -> str:
    return f"{record.failure.stage}: {record.failure.kind}" if record.failure else "-"


def _spent(record: Record) -> float:
    return sum(record.seconds.values())
