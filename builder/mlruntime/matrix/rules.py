"""Reading the rules of the matrix against its components. Core: no I/O."""

from collections.abc import Mapping
from datetime import date

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from mlruntime.documents.reading import Place, did_you_mean
from mlruntime.matrix.model import (
    ANY,
    EVIDENCE,
    EXPLORED,
    MEASURED,
    NAME,
    PLACEHOLDER,
    Component,
    Implication,
    Rule,
    Term,
    fill,
    mask_of,
)


def known_component(place: Place, name: str, components: Mapping[str, Component]) -> str:
    """Return ``name`` if it is a component, else raise with a "did you mean"."""
    if name not in components:
        raise place.fail(f"unknown component {name!r}", hint=did_you_mean(name, components))
    return name


class RuleReader:
    """Reads rules against the components; remembers masks, for the same specifiers recur."""

    def __init__(self, components: Mapping[str, Component]) -> None:
        self._components = components
        self._masks: dict[tuple[str, str], int] = {}

    def rule(self, place: Place, index: int) -> Rule:
        """Read the rule at ``place``, the ``index``-th of the file."""
        place.keys(("id", "says", "when", "evidence", "source", "date"), ("requires", "conflicts"))
        if place.maybe("requires") is None and place.maybe("conflicts") is None:
            raise place.fail("a rule needs 'requires' or 'conflicts'")
        when = self._terms(place.get("when"))
        requires = self._terms(place.maybe("requires"))
        conflicts = self._terms(place.maybe("conflicts"))
        if not when:
            raise place.get("when").fail("expected at least one component")
        implications = [
            *self._implications(place, "requires", when, requires),
            *self._implications(place, "conflicts", when, conflicts),
        ]
        return Rule(
            id=_rule_id(place.get("id")),
            index=index,
            says=place.get("says").text(),
            when=when,
            requires=requires,
            conflicts=conflicts,
            evidence=place.get("evidence").choice(EVIDENCE),
            source=_source(place.get("source")),
            date=_date(place.get("date")),
            implications=tuple(implications),
        )

    def _terms(self, place: Place | None) -> tuple[Term, ...]:
        terms = []
        for name, item in place.items() if place else ():
            known_component(item, name, self._components)
            texts = item.texts() if isinstance(item.value, list) else (item.text(),)
            if not texts:
                raise item.fail("expected at least one specifier")
            terms.append(Term(component=name, alternatives=texts))
        return tuple(terms)

    def _implications(
        self, place: Place, key: str, when: tuple[Term, ...], then: tuple[Term, ...]
    ) -> list[Implication]:
        conditions = [(t.component, self._mask(place.get("when"), t, {})) for t in when]
        found = []
        for term in then:
            spot = place.get(key)
            source = self._refers_to(spot.get(term.component), term, when)
            some = 0
            for narrowed, versions in self._cases(source, conditions):
                mask = self._mask(spot, term, versions, may_be_empty=bool(versions))
                some |= mask
                component = self._components[term.component]
                if key == "conflicts":
                    mask = (1 << len(component.releases)) - 1 & ~mask
                absent = key == "conflicts" or component.on_request
                found.append(
                    Implication(when=narrowed, component=term.component, mask=mask, absent=absent)
                )
            if not some:
                raise _matches_nothing(spot.get(term.component), term)
        return found

    def _refers_to(self, place: Place, term: Term, when: tuple[Term, ...]) -> str | None:
        """Return the component whose version the specifier quotes; it must be in ``when``."""
        names = {m[1] for text in term.alternatives for m in PLACEHOLDER.finditer(text)}
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
        place: Place,
        term: Term,
        versions: Mapping[str, Version],
        *,
        may_be_empty: bool = False,
    ) -> int:
        mask = 0
        for text in term.alternatives:
            filled = fill(text, versions) if versions else text
            key = (term.component, filled)
            if key not in self._masks:
                spot = place.get(term.component)
                self._masks[key] = mask_of(
                    self._components[term.component].releases, (parse_specifier(filled, spot),)
                )
            found = self._masks[key]
            if not found and not may_be_empty:
                raise _matches_nothing(place.get(term.component), term)
            mask |= found
        return mask


def _matches_nothing(place: Place, term: Term) -> Exception:
    return place.fail(
        f"{term.text} matches no release of {term.component}",
        hint="add the release, or correct the specifier",
    )


def parse_specifier(text: str, place: Place) -> SpecifierSet:
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


def _rule_id(place: Place) -> str:
    if not NAME.fullmatch(place.text().replace(".", "-")):
        raise place.fail(f"{place.value!r} is not a rule id", hint="lower case, digits, '-', '.'")
    return place.text()


def _source(place: Place) -> str:
    text = place.text()
    if not text.startswith(("https://", "http://", "pkg:", MEASURED, EXPLORED)):
        raise place.fail(
            f"{text!r} is not a source",
            hint=f"a URL, a package URL (pkg:pypi/NAME@VERSION), or '{MEASURED}' and what was done",
        )
    return text


def _date(place: Place) -> str:
    try:
        return date.fromisoformat(place.text()).isoformat()
    except ValueError:
        raise place.fail(f"{place.value!r} is not a date", hint="for example 2026-11-22") from None
