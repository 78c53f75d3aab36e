"""What a sweep has found, written into the definitions: records, rules of the matrix, the page."""

import json
from pathlib import Path
from typing import Final

from mlruntime.definitions.files import Definitions, read_text
from mlruntime.explore.evidence import (
    evidence_file,
    evidence_json,
    evidence_page,
    findings,
    is_evidence,
    with_findings,
)
from mlruntime.explore.state import StateFolder, evidence_records
from mlruntime.explore.sweep import Outcome
from mlruntime.matrix.parsing import parse_matrix
from mlruntime.store.store import write_whole

PAGE: Final = "docs/evidence.md"
BEGIN, END = "<!-- evidence -->", "<!-- /evidence -->"


def write_evidence(
    definitions: Definitions, state: StateFolder, outcome: Outcome
) -> tuple[str, ...]:
    """Write the records, the rules they prove and the page; return the files that changed."""
    root, files = definitions.root, []
    for record in outcome.records:
        if is_evidence(record):
            report = state.text(record.name, "report") if record.checks else None
            kept = evidence_json(record, json.loads(report) if report else None)
            file = evidence_file(record)
            write_whole(root / file, json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
            files.append(file)
    records = evidence_records(root)
    facts = read_text(root / "matrix.yaml", "matrix.yaml")
    changed = with_findings(facts, findings(parse_matrix(facts, file="matrix.yaml"), records))
    files += _replaced(root, "matrix.yaml", facts, changed)
    if (root / PAGE).is_file():
        old = read_text(root / PAGE, PAGE)
        before, _, rest = old.partition(BEGIN)
        _, _, after = rest.partition(END)
        new = f"{before}{BEGIN}\n{evidence_page(records)}\n{END}{after}"
        files += _replaced(root, PAGE, old, new)
    return tuple(files)


def _replaced(root: Path, file: str, old: str, new: str) -> list[str]:
    if new == old:
        return []
    write_whole(root / file, new)
    return [file]
