"""Reading the rules of the matrix against its components. Core: no I/O."""

from collections.abc import Iterator, Mapping
from datetime import date

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from mlruntime.documents.reading import Location, did_you_mean
from mlruntime.matrix.document import RuleForm, Terms
from mlruntime.matrix.model import (
    ANY,
    PLACEHOLDER,
    Component,
    Implication,
    Rule,
    Term,
    fill,
    mask_of,
)


def known_component(place: Location, name: str, components: Mapping[str, Component]) -> str:
    """Return ``name`` if it is a component, else raise with a "did you mean"."""
    if name not in components:
        raise place.fail(f"unknown component {name!r}", hint=did_you_mean(name, components))
    return name


class RuleReader:
    """Reads rules against the components; remembers masks, for the same specifiers recur."""

    def __init__(self, components: Mapping[str, Component]) -> None:
        self._components = components
        self._masks: dict[tuple[str, str], int] = {}

    def rule(self, form: RuleForm, place: Location, index: int) -> Rule:
        """Return the rule at ``place``, the ``index``-th of the file."""
        if form.requires is None and form.conflicts is None:
            raise place.fail("a rule needs 'requires' or 'conflicts'")
        when = self._terms(form.when, place, "when")
        requires = self._terms(form.requires or {}, place, "requires")
        conflicts = self._terms(form.conflicts or {}, place, "conflicts")
        implications = [
            *self._implications(place, "requires", when, requires),
            *self._implications(place, "conflicts", when, conflicts),
        ]
        return Rule(
            id=form.id,
            index=index,
            says=form.says,
            when=when,
            requires=requires,
            conflicts=conflicts,
            evidence=form.evidence,
            source=form.source,
            date=_date(form.date, place),
            implications=tuple(implications),
            delivered=tuple(self._delivered(form, place)),
        )

    def _delivered(self, form: RuleForm, place: Location) -> Iterator[tuple[str, str]]:
        for name, origin in (form.delivered or {}).items():
            spot = place.get("delivered").get(name)
            known_component(spot, name, self._components)
            if all(artifact.origin != origin for artifact in self._components[name].artifacts):
                raise spot.fail(f"{name} has no artifact of {origin}")
            yield name, origin

    def _terms(self, forms: Terms, place: Location, key: str) -> tuple[Term, ...]:
        terms = []
        for name, texts in forms.items():
            if name not in self._components:
                known_component(place.get(key).get(name), name, self._components)
            alternatives = tuple(texts) if isinstance(texts, list) else (texts,)
            if not all(text.strip() for text in alternatives):
                raise place.get(key).get(name).fail("expected text, found an empty string")
            terms.append(Term(component=name, alternatives=alternatives))
        return tuple(terms)

    def _implications(
        self, place: Location, key: str, when: tuple[Term, ...], then: tuple[Term, ...]
    ) -> list[Implication]:
        if not then:
            return []
        conditions = [(t.component, self._mask(place, "when", t, {})) for t in when]
        found = []
        for term in then:
            source = self._refers_to(place, key, term, when)
            some = 0
            for narrowed, versions in self._cases(source, conditions):
                mask = self._mask(place, key, term, versions, may_be_empty=bool(versions))
                some |= mask
                component = self._components[term.component]
                if key == "conflicts":
                    mask = (1 << len(component.releases)) - 1 & ~mask
                absent = key == "conflicts" or component.on_request
                found.append(
                    Implication(when=narrowed, component=term.component, mask=mask, absent=absent)
                )
            if not some:
                raise _matches_nothing(place.get(key), term)
        return found

    def _refers_to(
        self, rule: Location, key: str, term: Term, when: tuple[Term, ...]
    ) -> str | None:
        """Return the component whose version the specifier quotes; it must be in ``when``."""
        names = {m[1] for text in term.alternatives for m in PLACEHOLDER.finditer(text)}
        if not names:
            return None
        place = rule.get(key).get(term.component)
        known = {t.component for t in when}
        for name in sorted(names - known):
            raise place.fail(f"{{{name}}} is not in 'when'", hint=did_you_mean(name, known))
        if len(names) > 1:
            raise place.fail("a specifier can quote the version of one component only")
        return next(iter(names), None)

    def _cases(
        self, source: str | None, conditions: list[tuple[str, int]]
    ) -> list[tuple[tuple[tuple[str, int], ...], dict[str, Version]]]:
        """Split the condition by the releases of ``source``: one case for each."""
        if source is None:
            return [(tuple(conditions), {})]
        mask = dict(conditions)[source]
        return [
            (
                tuple((name, 1 << bit if name == source else m) for name, m in conditions),
                {source: release},
            )
            for bit, release in enumerate(self._components[source].releases)
            if mask >> bit & 1
        ]

    def _mask(
        self,
        rule: Location,
        key: str,
        term: Term,
        versions: Mapping[str, Version],
        *,
        may_be_empty: bool = False,
    ) -> int:
        mask = 0
        for text in term.alternatives:
            filled = fill(text, versions) if versions else text
            known = (term.component, filled)
            if known not in self._masks:
                spot = rule.get(key).get(term.component)
                self._masks[known] = mask_of(
                    self._components[term.component].releases, (parse_specifier(filled, spot),)
                )
            found = self._masks[known]
            if not found and not may_be_empty:
                raise _matches_nothing(rule.get(key), term)
            mask |= found
        return mask


def _matches_nothing(place: Location, term: Term) -> Exception:
    return place.get(term.component).fail(
        f"{term.text} matches no release of {term.component}",
        hint="add the release, or correct the specifier",
    )


def parse_specifier(text: str, place: Location) -> SpecifierSet:
    """Read a PEP 440 specifier set, a plain version (meaning ``==``) or ``*``."""
    if text.strip() == ANY:
        return SpecifierSet()
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        pass
    try:
        return SpecifierSet(f"=={Version(text)}")
    except InvalidVersion:
        raise place.fail(
            f"{text!r} is not a version specifier", hint='for example "==2.15.*", ">=3.5,<4" or "*"'
        ) from None


def _date(text: str, place: Location) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise place.get("date").fail(
            f"{text!r} is not a date", hint="for example 2026-11-22"
        ) from None
