"""``mlruntime matrix outdated``."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.output import emit
from mlruntime.definitions.files import read_text
from mlruntime.errors import Unavailable

if TYPE_CHECKING:
    from mlruntime.matrix.news import Proposal

MATRIX = "matrix.yaml"


def outdated(
    ctx: typer.Context,
    write: Annotated[
        bool, typer.Option("--write", help="apply the proposed change to matrix.yaml")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Find new upstream releases, as a change to matrix.yaml."""
    # Imported here so that `matrix show` does not wait for the registries' clients.
    from mlruntime.ecosystems.releases import UpstreamRegistries
    from mlruntime.fetch.web import Web
    from mlruntime.matrix.delivery import delivered
    from mlruntime.matrix.news import propose
    from mlruntime.matrix.parsing import parse_matrix
    from mlruntime.store.store import Store, write_whole
    from mlruntime.workflows.store.stores import host_sources, store_root

    context: Context = ctx.obj
    path = context.root / MATRIX
    text = read_text(path, MATRIX)
    matrix, sources = parse_matrix(text, file=MATRIX), host_sources(context.ca_bundle)
    with Store(store_root()).scratch() as scratch, Web(sources) as web:
        answers = tuple(UpstreamRegistries(sources, web, scratch).answers(delivered(matrix)))
    today = datetime.now(UTC).date().isoformat()
    proposal = propose(text, answers, file=MATRIX, today=today)
    written = write and proposal.after != text
    if written:
        write_whole(path, proposal.after)
    result = {
        "components": [news.to_dict() for news in proposal.news],
        "rules": list(proposal.rules),
        "patch": proposal.patch,
        "written": written,
    }
    failed = [news for news in proposal.news if news.error]
    if as_json or len(failed) < len(proposal.news) or not failed:
        emit(result, _text(proposal, written=written), as_json)
    if failed and len(failed) == len(proposal.news):
        raise Unavailable(
            "no registry could be reached",
            why="; ".join(f"{news.component}: {news.error}" for news in failed),
            hint="`mlruntime doctor` shows what this host reaches",
        )


def _text(proposal: "Proposal", *, written: bool) -> str:
    from mlruntime.documents.tables import (
        Table,
        plain,
    )

    rows = []
    for news in proposal.news:
        added = ", ".join(str(version) for version in news.added) or "-"
        rows.append((news.component, news.newest, (news.error and "not known") or added))
    columns = ("component", "newest in the matrix", "released since")
    parts = [plain(Table(title="Released since", columns=columns, rows=tuple(rows)))]
    errors = [f"{news.component}: {news.error}" for news in proposal.news if news.error]
    parts += ["\n".join(["Could not be reached:", *(f"  {e}" for e in errors)])] if errors else []
    out = [f"{n.component} {version}: {why}" for n in proposal.news for version, why in n.left_out]
    parts += ["\n".join(["Left out:", *(f"  {line}" for line in out)])] if out else []
    if not proposal.patch:
        parts.append("No change to matrix.yaml to propose.")
    elif written:
        parts.append(
            "matrix.yaml written. `mlruntime matrix check` and a run prove more than this."
        )
    else:
        parts.append("The change, not applied (`--write` applies it):")
        parts.append(proposal.patch.rstrip("\n"))
    return "\n\n".join(parts)
