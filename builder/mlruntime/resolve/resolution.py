"""From a request to versions, with the reason for each. Core: no I/O.

The order of preference is part of the contract: of all solutions the one whose components,
taken in the matrix's ``preference`` order, are the newest; those asked for first, then those
drawn in by rules, which are left out wherever that is possible. Stable releases come before
pre-releases.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mlruntime.documents.reading import did_you_mean
from mlruntime.errors import NoCompatibleVersions, UsageError
from mlruntime.matrix.encoding import Encoding, RequestLine
from mlruntime.matrix.model import ArtifactTemplate, Implication, Matrix, Rule, fill
from mlruntime.resolve.conflict import (
    explain_failure,
)
from mlruntime.resolve.model import (
    Conflict,
    Reason,
    Resolution,
)
from mlruntime.resolve.wording import conflict_text

Request = Iterable[tuple[str, SpecifierSet]]


class NoSolution(NoCompatibleVersions):
    """``conflict`` says, as data, what the message says in words."""

    def __init__(self, conflict: Conflict) -> None:
        super().__init__(conflict_text(conflict))
        self.conflict = conflict


def resolve(matrix: Matrix, request: Request) -> Resolution:
    """Return the best versions, or raise ``NoSolution``.

    A component that the matrix does not know is a ``UsageError``.
    """
    encoding = Encoding(matrix)
    lines = request_lines(encoding, request)
    outcome = encoding.solve(lines)
    if outcome.values is None:
        raise NoSolution(explain_failure(encoding, lines))
    versions = encoding.versions(outcome.values)
    return Resolution(
        versions=tuple(versions.items()), reasons=tuple(_reasons(matrix, lines, versions))
    )


def resolve_beside(matrix: Matrix, chosen: Resolution, request: Request) -> Resolution:
    """Return the best versions of what is requested beside those that are ``chosen`` already.

    These do not move. Raises as ``resolve`` does.
    """
    held = ((name, SpecifierSet(f"==={version}")) for name, version in chosen.versions)
    return resolve(matrix, (*held, *request))


def request_lines(encoding: Encoding, request: Request) -> list[RequestLine]:
    """Return the request's lines in order of preference."""
    wanted: dict[str, SpecifierSet] = {}
    for component, specifier in request:
        if component not in encoding.matrix.components:
            raise UsageError(
                f"unknown component {component!r}",
                where="request",
                hint=did_you_mean(component, encoding.matrix.components),
            )
        wanted[component] = wanted.get(component, SpecifierSet()) & specifier
    return [
        encoding.line(name, wanted[name]) for name in encoding.matrix.preference if name in wanted
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedArtifact:
    """An artifact of a chosen component; ``version`` is the component's."""

    component: str
    name: str
    version: str
    template: ArtifactTemplate


def named_artifacts(
    matrix: Matrix, resolution: Resolution, origin: str, variant: str
) -> list[NamedArtifact]:
    """Return every artifact of one origin and variant, its name filled in."""
    versions = dict(resolution.versions)
    found = []
    for component, version in resolution.versions:
        for template in matrix.components[component].artifacts:
            if template.origin != origin or variant not in template.variants:
                continue
            if not template.is_of(version):
                continue
            try:
                name = fill(template.name, versions)
            except KeyError as missing:
                raise UsageError(
                    f"the artifact of {component} is named after {missing.args[0]}: absent",
                    hint=f"add {missing.args[0]} to the request",
                ) from None
            found.append(
                NamedArtifact(
                    component=component, name=name, version=str(version), template=template
                )
            )
    return found


def oldest_allowed(matrix: Matrix, resolution: Resolution, component: str) -> str | None:
    """Return the oldest release that the rules allow beside the chosen versions, as spelled.

    What a host must have at least (its driver) is not chosen: any newer one will do. ``None``
    when no rule says anything of the component.
    """
    chosen = {
        name: 1 << matrix.components[name].releases.index(version)
        for name, version in resolution.versions
        if name != component
    }
    releases = matrix.components[component].releases
    implications_ = [
        implication
        for rule in matrix.rules
        for implication in rule.implications
        if implication.component == component and not _holds(implication, chosen | {component: 0})
    ]
    mask = (1 << len(releases)) - 1
    for implication in implications_:
        mask &= implication.mask
    allowed = [release for index, release in enumerate(releases) if mask >> index & 1]
    return matrix.components[component].spell(min(allowed)) if implications_ and allowed else None


def _reasons(
    matrix: Matrix, lines: Sequence[RequestLine], versions: Mapping[str, Version]
) -> Iterable[Reason]:
    chosen = {
        name: 1 << matrix.components[name].releases.index(version)
        for name, version in versions.items()
    }
    requested = {line.component: line for line in lines}
    limits = {name: line.mask for name, line in requested.items()}
    for name, version in versions.items():
        component = matrix.components[name]
        line = requested.get(name)
        allowed = limits.get(name, (1 << len(component.releases)) - 1)
        yield Reason(
            component=name,
            version=version,
            requested=line.requested if line else None,
            newest=component.newest,
            newest_requested=component.releases[(allowed & -allowed).bit_length() - 1],
            needed_by=() if line else _needed_by(matrix, name, chosen),
            bounded_by=_bounded_by(matrix, name, allowed & chosen[name] - 1, chosen, limits),
            spell=component.spell,
        )


def _holds(implication: Implication, chosen: Mapping[str, int]) -> bool:
    if not all(chosen.get(name, 0) & mask for name, mask in implication.when):
        return True
    value = chosen.get(implication.component)
    return implication.absent if value is None else bool(value & implication.mask)


def _needed_by(matrix: Matrix, name: str, chosen: Mapping[str, int]) -> tuple[Rule, ...]:
    without = {other: value for other, value in chosen.items() if other != name}
    return tuple(
        rule
        for rule in matrix.rules
        if not all(_holds(implication, without) for implication in rule.implications)
    )


def _bounded_by(
    matrix: Matrix, name: str, better: int, chosen: Mapping[str, int], limits: Mapping[str, int]
) -> tuple[Rule, ...]:
    """Return few rules that between them exclude every release in ``better``.

    A rule excludes a release if taking it, all else as it is, would break the rule; a part goes
    with its whole, as far as the request's ``limits`` let it. One always does: otherwise the
    solution would not have been the best.
    """
    whole = matrix.components[name].part_of or name
    together = [n for n in chosen if whole in (n, matrix.components[n].part_of)]
    excluded: dict[int, int] = {}
    for bit in range(better.bit_length()):
        if not better >> bit & 1:
            continue
        moved = (n for n in together if limits.get(n, -1) >> bit & 1)
        trial = {**chosen, **dict.fromkeys(moved, 1 << bit)}
        for rule in matrix.rules:
            if not all(_holds(implication, trial) for implication in rule.implications):
                excluded[rule.index] = excluded.get(rule.index, 0) | 1 << bit
    bounds = []
    while better and excluded:
        best = max(excluded, key=lambda index: ((excluded[index] & better).bit_count(), -index))
        better &= ~excluded.pop(best)
        bounds.append(best)
    return tuple(matrix.rules[index] for index in sorted(bounds))
