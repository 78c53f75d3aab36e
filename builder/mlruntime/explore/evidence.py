"""From records to evidence: which rules they prove, and the table people read. Core: no I/O."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from packaging.version import Version

from mlruntime.documents.tables import (
    Table,
    markdown,
)
from mlruntime.explore.record import LEVELS, CombinationRecord
from mlruntime.matrix.editing import with_rule
from mlruntime.matrix.model import EVIDENCE, EXPLORED, Implication, Matrix, Rule

# The evidence that each level gives a rule; a combination that was not built gives none.
_EVIDENCE: Final[Mapping[str | None, str]] = {"built": "built", "cluster": "cluster"}
Cell = Callable[[CombinationRecord], str]
_BESIDE: Final = ("tensorflow", "keras", "horovod", "spark", "python", "java", "debian", "numpy")


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleEvidence:
    """The new evidence, source and date of a rule."""

    rule: Rule
    evidence: str
    source: str
    date: str


def findings(matrix: Matrix, records: Iterable[CombinationRecord]) -> tuple[RuleEvidence, ...]:
    """Return the evidence of the records for the rules that leave it to them.

    Those are the rules whose source begins with ``explored:``: only a person can decide
    whether a working combination proves the sentence of a rule. Such a rule is about all
    combinations in which every component it names has a release that it names; it gets the
    highest level that one of these has attained, the latest of them.
    """
    tried = [record for record in records if is_evidence(record)]
    found = []
    for rule in matrix.rules:
        if not rule.source.startswith(EXPLORED):
            continue
        about = [record for record in tried if _is_about(matrix, rule, record)]
        if about:
            best = max(about, key=_rank)
            found.append(_finding(rule, best))
    return tuple(found)


def _rank(record: CombinationRecord) -> tuple[int, str, list[Version]]:
    return record.reached, record.date or "", [Version(v) for _, v in record.axes]


def _is_about(matrix: Matrix, rule: Rule, record: CombinationRecord) -> bool:
    versions = _versions(record)
    bits = {
        name: 1 << component.releases.index(Version(versions[name]))
        for name, component in matrix.components.items()
        if name in versions and Version(versions[name]) in component.releases
    }

    def matches(pairs: Iterable[tuple[str, int]]) -> bool:
        return all(bits.get(name, 0) & mask for name, mask in pairs)

    def follows(implication: Implication) -> bool:
        # A case that does not apply ({tensorflow.minor} of another release) says nothing.
        return not matches(implication.when) or matches([(implication.component, implication.mask)])

    applies = any(matches(implication.when) for implication in rule.implications)
    return applies and all(follows(implication) for implication in rule.implications)


def _finding(rule: Rule, record: CombinationRecord) -> RuleEvidence:
    said = f"{record.text} on {record.runtime}"
    if record.checks and record.failure is None:
        said += f", {len(record.checks.passed)} checks on {record.checks.workers} workers"
    elif record.failure:
        said += f", {record.failure.stage} failed ({record.failure.kind})"
    if record.image:
        said += f", image {record.image}"
    return RuleEvidence(
        rule=rule,
        evidence=_EVIDENCE.get(record.level, EVIDENCE[0]),
        source=f"{EXPLORED}{said}, {evidence_file(record)}",
        date=record.date or rule.date,
    )


def evidence_file(record: CombinationRecord) -> str:
    """Return where the definitions keep a record, as a path below their root."""
    return f"runtimes/{record.runtime}/evidence/combinations/{record.name}.json"


def evidence_json(record: CombinationRecord, report: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is kept of a combination: its record and report, and no path of this host."""
    kept = record.to_dict()
    if kept["failure"]:
        kept["failure"]["log"] = None
    return {**kept, "report": report}


def is_evidence(record: CombinationRecord) -> bool:
    """Return whether a record says anything that the rules of the matrix did not say before."""
    return record.ended() and record.reached > 0


def with_findings(text: str, found: Iterable[RuleEvidence]) -> str:
    """Return the text of ``matrix.yaml`` with the findings written into their rules."""
    for finding in found:
        values = {"evidence": finding.evidence, "source": finding.source, "date": finding.date}
        text = with_rule(text, finding.rule.id, values)
    return text


def ordered(records: Iterable[CombinationRecord]) -> list[CombinationRecord]:
    """Return records newest first, component by component, whatever their axes are."""

    def order(record: CombinationRecord) -> tuple[list[Version], str]:
        versions = dict(record.versions) | dict(record.axes)
        return [Version(versions.get(name, "0")) for name in _BESIDE], record.runtime

    return sorted(records, key=order, reverse=True)


def evidence_tables(records: Sequence[CombinationRecord]) -> tuple[Table, ...]:
    """Return what works together, what only builds, and what breaks and how."""
    known = ordered(records)
    proven = [r for r in known if r.reached == len(LEVELS)]
    built = [r for r in known if r.level == "built"]
    broken = [r for r in known if r.failure and r.reached < LEVELS.index("built") + 1]
    tables = [
        _table("Works together: every check passed on a cluster", proven, _PROVEN),
        _table("Only builds", built, _BUILT),
        _table("Breaks", broken, _BROKEN),
    ]
    return tuple(table for table in tables if table.rows)


def evidence_page(records: Sequence[CombinationRecord]) -> str:
    """Return the generated part of the page on evidence."""
    tables = evidence_tables(records)
    return "\n\n".join(f"## {table.title}\n\n{markdown(table)}" for table in tables)


def _table(title: str, records: Sequence[CombinationRecord], told: Mapping[str, Cell]) -> Table:
    shown = [name for name in _BESIDE if any(name in _versions(r) for r in records)]
    shown += sorted({n for r in records for n, _ in r.axes} - set(shown))
    return Table(
        title=title,
        columns=(*shown, "on", *told, "date"),
        rows=tuple(
            (
                *(_versions(record).get(name, "-") for name in shown),
                record.runtime,
                *(cell(record) for cell in told.values()),
                record.date or "-",
            )
            for record in records
        ),
    )


def _versions(record: CombinationRecord) -> dict[str, str]:
    known = {**dict(record.versions), **dict(record.axes)}
    return {name: v for name, v in known.items() if name not in record.omitted}


def _checks(record: CombinationRecord) -> str:
    assert record.checks is not None
    families = dict.fromkeys(name.partition(".")[0] for name in record.checks.passed)
    return f"{len(record.checks.passed)}: {', '.join(families)}"


def _how(record: CombinationRecord) -> str:
    if record.failure is None:
        return "not validated"
    failure = record.failure
    what = "; ".join(failure.lines) if failure.stage == "validate" else failure.what
    return f"{failure.stage}: {failure.kind}: {what}"


def _image(record: CombinationRecord) -> str:
    return f"`{record.image[:19]}`" if record.image else "-"


_PROVEN: Final[Mapping[str, Cell]] = {"checks": _checks, "image": _image}
_BUILT: Final[Mapping[str, Cell]] = {"how far": _how, "image": _image}
_BROKEN: Final[Mapping[str, Cell]] = {"how": _how}
