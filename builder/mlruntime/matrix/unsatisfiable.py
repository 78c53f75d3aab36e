"""Request lines and rules that have no common solution, none of them dispensable."""

from collections.abc import Sequence

from mlruntime.matrix.encoding import Encoding, RequestLine


def minimal_core(
    encoding: Encoding, lines: Sequence[RequestLine], among: frozenset[int] | None = None
) -> tuple[list[RequestLine], frozenset[int]]:
    """Return lines and rules (by index) that are unsatisfiable, none of them dispensable.

    By deletion: leave one out; if what remains still has no solution it was not needed.
    """
    every = frozenset(rule.index for rule in encoding.matrix.rules)
    outcome = encoding.solve(lines, without=every - among if among is not None else frozenset())
    assert outcome.values is None, "only an unsolvable request has a core"
    kept, rules = encoding.lines_of(outcome, lines), outcome.owners
    for line in reversed(list(kept)):
        if line not in kept:
            continue
        outcome = encoding.solve([k for k in kept if k is not line], without=every - rules)
        if outcome.values is None:
            kept = encoding.lines_of(outcome, [k for k in kept if k is not line])
            rules = outcome.owners
    for index in sorted(rules):
        if index not in rules:
            continue
        outcome = encoding.solve(kept, without=every - rules | {index})
        if outcome.values is None:
            kept, rules = encoding.lines_of(outcome, kept), outcome.owners
    return kept, rules
