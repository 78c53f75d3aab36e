"""``mlruntime matrix explore``: what was asked for, the stages on this host, what is shown."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.host import this_host
from mlruntime.cli.output import emit, say
from mlruntime.cli.validate import CheckProgress
from mlruntime.definitions.files import Definitions, read_text
from mlruntime.documents.reading import did_you_mean
from mlruntime.documents.tables import (
    Table,
    plain,
)
from mlruntime.errors import UsageError
from mlruntime.explore.combinations import Combinations, parse_combinations, parse_settings
from mlruntime.explore.publishing import write_evidence
from mlruntime.explore.record import LEVELS, CombinationRecord
from mlruntime.explore.stages import HostStages, Trial, without_rules
from mlruntime.explore.state import StateFolder
from mlruntime.explore.sweep import Limits, Sweep, SweepResult
from mlruntime.matrix.model import Matrix
from mlruntime.validation.catalog import CHECKS
from mlruntime.validation.expectation import selected
from mlruntime.validation.session import IMAGE_CHECK
from mlruntime.workflows.host import Host
from mlruntime.workflows.inputs import matrix_of, read_matrix, read_runtime
from mlruntime.workflows.store.stores import store_root

INCOMPLETE: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """What was asked for on the command line."""

    runtime: str
    axes: tuple[str, ...]
    settings: tuple[str, ...]
    ignored: tuple[str, ...]
    trial: Trial
    until: str
    budget: float | None
    most: int | None
    retry: bool
    state: Path | None
    write: bool
    as_json: bool


def run(context: Context, wishes: Wishes) -> None:
    """Run the verb; exits with 8 while combinations are left."""
    if wishes.until not in LEVELS:
        hint = did_you_mean(wishes.until, LEVELS)
        raise UsageError(f"--until: unknown level {wishes.until!r}", hint=hint)
    selected((IMAGE_CHECK, *(check.name for check in CHECKS)), wishes.trial.only)
    definitions = Definitions(context.root)
    matrix = read_matrix(definitions)
    tried = read_combinations(wishes, matrix)
    state = StateFolder(wishes.state or store_root() / "explore" / wishes.runtime)
    with (
        this_host(context) as host,
        host_stages(context, matrix, tried, host, wishes) as stages,
    ):
        sweep = Sweep(
            tried.combinations,
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


def read_combinations(wishes: Wishes, matrix: Matrix) -> Combinations:
    """Return the combinations of the axes that ``--axis`` names, or of one file of them."""
    files = [Path(word) for word in wishes.axes if "=" not in word]
    if not files:
        return parse_settings(wishes.axes, wishes.settings, matrix)
    if len(wishes.axes) > 1:
        raise UsageError("--axis takes one file, or axes", hint="write the axes into the file")
    found = parse_combinations(
        read_text(files[0], str(files[0]), UsageError), file=str(files[0]), matrix=matrix
    )
    return replace(found, settings=(*found.settings, *wishes.settings))


@contextmanager
def host_stages(
    context: Context, matrix: Matrix, tried: Combinations, host: Host, wishes: Wishes
) -> Iterator[HostStages]:
    """Yield the stages on this host; the engine and the registries are reached when needed."""
    definitions = Definitions(context.root)
    base = read_runtime(definitions, wishes.runtime, matrix).with_settings(tried.settings)
    with host.registries() as registries:
        stages = HostStages(
            definitions=definitions,
            matrix=without_rules(matrix_of(matrix, base), wishes.ignored),
            base=base,
            trial=wishes.trial,
            host=host,
            registries=registries,
            observer=observer,
        )
        try:
            yield stages
        finally:
            stages.close()


def observer(total: int, say: Callable[[str], None]) -> CheckProgress:
    """Return an observer that shows checks as ``validate`` does."""
    return CheckProgress(say=say, total=total)


# what is shown


def _json(outcome: SweepResult, state: StateFolder, written: tuple[str, ...]) -> dict[str, Any]:
    return {
        "state": str(state.root),
        "combinations": [record.to_dict() for record in outcome.records],
        "left": [combination.name for combination in outcome.left],
        "why": outcome.why,
        "written": list(written),
    }


def _text(outcome: SweepResult, state: StateFolder, written: tuple[str, ...]) -> str:
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


def _ending(record: CombinationRecord) -> str:
    return f"{record.failure.stage}: {record.failure.kind}" if record.failure else "-"


def _spent(record: CombinationRecord) -> float:
    return sum(record.seconds.values())
