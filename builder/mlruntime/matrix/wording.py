"""Rules in words and as JSON."""

from __future__ import annotations

from typing import Any

from mlruntime.matrix.model import Rule, Term


def term_text(term: Term) -> str:
    """Return a term as ``tensorflow ==2.15.*``."""
    return f"{term.component} {term.text}"


def rule_text(rule: Rule) -> str:
    """Return a rule as ``tensorflow ==2.15.* requires keras ==2.15.*``."""
    parts = []
    if rule.requires:
        parts.append("requires " + ", ".join(term_text(t) for t in rule.requires))
    if rule.conflicts:
        parts.append("conflicts with " + ", ".join(term_text(t) for t in rule.conflicts))
    return " and ".join(term_text(t) for t in rule.when) + " " + " and ".join(parts)


def rule_json(rule: Rule) -> dict[str, Any]:
    """Return a rule's JSON form."""

    def terms(given: tuple[Term, ...]) -> dict[str, list[str]]:
        return {t.component: list(t.alternatives) for t in given}

    return {
        "id": rule.id,
        "says": rule.says,
        "when": terms(rule.when),
        "requires": terms(rule.requires),
        "conflicts": terms(rule.conflicts),
        "evidence": rule.evidence,
        "source": rule.source,
        "date": rule.date,
    }
