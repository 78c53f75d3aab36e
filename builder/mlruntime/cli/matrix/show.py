"""Whether the matrix is sound, and what is in it."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from mlruntime.cli.output import emit
from mlruntime.cli.tables import show_tables
from mlruntime.definitions.files import Definitions
from mlruntime.documents.reading import did_you_mean
from mlruntime.errors import InvalidDefinition, UsageError
from mlruntime.matrix.soundness import Contradiction, contradictions, dated_later
from mlruntime.matrix.tables import component_list, matrix_json, overview, release_list, rule_list
from mlruntime.workflows.inputs import read_matrix


def check(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Check that matrix.yaml is sound.

    Names must be known, rules must have sources, and every release must fit into some
    combination.
    """
    matrix = read_matrix(Definitions(ctx.obj.root))
    if later := dated_later(matrix, datetime.now(UTC).date()):
        raise InvalidDefinition(
            f"{later[0].date} is in the future",
            where=f"matrix.yaml: rules[{later[0].index}].date",
            hint="write the day on which this was last looked up or measured",
        )
    found = contradictions(matrix)
    summary = {
        "ok": not found,
        "components": len(matrix.components),
        "releases": sum(len(c.releases) for c in matrix.components.values()),
        "rules": len(matrix.rules),
        "problems": [
            {"where": p.where, "what": p.what, "rules": [rule.id for rule in p.rules]}
            for p in found
        ],
    }
    text = "{components} components, {releases} releases, {rules} rules: sound".format(**summary)
    if as_json or not found:
        emit(summary, text, as_json)
    if found:
        raise _unsound(found)


def _unsound(found: tuple[Contradiction, ...]) -> InvalidDefinition:
    first, rest = found[0], found[1:]
    why = "\n       ".join([first.why, *(f"and {p.where}: {p.what} ({p.why})" for p in rest)])
    return InvalidDefinition(
        first.what,
        where=f"matrix.yaml: {first.where}",
        why=why,
        hint="correct a rule, or take the release out",
    )


def show(
    ctx: typer.Context,
    component: Annotated[
        str | None, typer.Argument(metavar="COMPONENT", help="show only this component")
    ] = None,
    rules: Annotated[bool, typer.Option("--rules", help="also list every rule")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="print Markdown")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Show components, rules, and which releases go together."""
    matrix = read_matrix(Definitions(ctx.obj.root))
    if component is not None and component not in matrix.components:
        raise UsageError(
            f"unknown component {component!r}", hint=did_you_mean(component, matrix.components)
        )
    if as_json:
        emit(matrix_json(matrix, component), "", as_json)
        return
    if component is not None:
        tables = [release_list(matrix, component), rule_list(matrix, component)]
    else:
        tables = [component_list(matrix), *overview(matrix)]
        tables += [rule_list(matrix)] if rules else []
    show_tables(tables, as_markdown=as_markdown)
