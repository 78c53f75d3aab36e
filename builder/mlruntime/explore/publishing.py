"""What a sweep has found, written into the definitions: records, rules of the matrix, the page."""

import json
from pathlib import Path
from typing import Final

from mlruntime.definitions.files import Definitions, read_text
from mlruntime.errors import InvalidDefinition
from mlruntime.explore.evidence import (
    evidence_file,
    evidence_json,
    evidence_page,
    findings,
    is_evidence,
    with_findings,
)
from mlruntime.explore.state import StateFolder, evidence_records
from mlruntime.explore.sweep import SweepResult
from mlruntime.matrix.parsing import parse_matrix
from mlruntime.store.store import write_whole

PAGE: Final = "docs/evidence.md"
BEGIN, END = "<!-- evidence -->", "<!-- /evidence -->"


def write_evidence(
    definitions: Definitions, state: StateFolder, outcome: SweepResult
) -> tuple[str, ...]:
    """Write the records, the rules they prove and the page; return the files that changed."""
    root, files = definitions.root, []
    page = read_text(root / PAGE, PAGE) if (root / PAGE).is_file() else None
    before, after = _around(page) if page is not None else ("", "")
    for record in outcome.records:
        if is_evidence(record):
            report = state.text(record.name, "report") if record.checks else None
            kept = evidence_json(record, json.loads(report) if report else None)
            file = evidence_file(record)
            write_whole(root / file, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
            files.append(file)
    records = evidence_records(root)
    matrix = read_text(root / "matrix.yaml", "matrix.yaml")
    changed = with_findings(matrix, findings(parse_matrix(matrix, file="matrix.yaml"), records))
    files += _replaced(root, "matrix.yaml", matrix, changed)
    if page is not None:
        new = f"{before}{BEGIN}\n{evidence_page(records)}\n{END}{after}"
        files += _replaced(root, PAGE, page, new)
    return tuple(files)


def _around(page: str) -> tuple[str, str]:
    """Return what is before and after the evidence in its page; raises unless that is clear."""
    if (page.count(BEGIN), page.count(END)) != (1, 1) or page.index(BEGIN) > page.index(END):
        raise InvalidDefinition(
            f"{BEGIN} and {END} are not there once each, in this order",
            where=PAGE,
            why="what is between them is written anew, and the rest must stay",
            hint="put them back and run this again: what has been found is kept",
        )
    before, _, rest = page.partition(BEGIN)
    return before, rest.partition(END)[2]


def _replaced(root: Path, file: str, old: str, new: str) -> list[str]:
    if new == old:
        return []
    write_whole(root / file, new)
    return [file]
