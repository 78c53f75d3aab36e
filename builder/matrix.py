"""The compatibility facts: components, their releases, and the edges between them.

Core: no I/O. ``parse_matrix`` turns the text of ``matrix.yaml`` into real types and refuses
everything that cannot mean what was intended; ``builder.rules`` asks what only solving can tell.

A set of releases of one component is an integer: bit ``i`` stands for ``releases[i]``, newest
first with pre-releases last, which is also the order of preference.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from builder.document import Place, did_you_mean, read_yaml

EVIDENCE: Final = ("documented", "built", "single-node", "cluster")
ORIGINS: Final = ("pypi", "debian", "maven")
VARIANTS: Final = ("cpu", "gpu")
ANY: Final = "*"
MEASURED: Final = "measured: "

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PLACEHOLDER = re.compile(r"\{([a-z0-9-]+)(?:\.(major|minor))?\}")
_ANY_SET = SpecifierSet()


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactTemplate:
    """What a component is called in a registry.

    ``name`` may hold ``{component.major}`` (17), ``{component.minor}`` (2.12) or ``{component}``
    (the whole version), filled in from a resolution. ``variants`` are those it belongs to.
    """

    origin: str
    name: str
    variants: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """One thing with versions.

    ``releases`` are in order of preference. A component that is ``on_request`` takes part only
    when a request names it: an edge that requires it is silent otherwise. ``part_of`` names the
    component inside which it is delivered, and whose releases it shares. ``spellings`` are those
    releases that PEP 440 spells otherwise than the file.
    """

    name: str
    title: str
    summary: str
    artifacts: tuple[ArtifactTemplate, ...]
    releases: tuple[Version, ...]
    on_request: bool
    part_of: str | None
    spellings: tuple[str, ...] = ()

    def spell(self, release: Version) -> str:
        """Return a release as the file spells it (``450.80.02``), which PEP 440 may not."""
        return next((s for s in self.spellings if Version(s) == release), str(release))

    @property
    def newest(self) -> Version:
        """Return the most preferred release."""
        return self.releases[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """Some releases of one component.

    ``alternatives`` are specifier sets of which one must match; ``text`` is how the file
    spells them. A specifier may refer to another component's version, ``=={tensorflow.minor}.*``.
    """

    component: str
    alternatives: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return the specifiers as the file has them, ``any version`` for ``*``."""
        return " or ".join("any version" if a == ANY else a for a in self.alternatives)


@dataclass(frozen=True, kw_only=True, slots=True)
class Implication:
    """One consequence of an edge: if every ``when`` holds, ``component`` is in ``mask``.

    ``mask`` and the masks of ``when`` are sets of releases; ``absent`` says whether the
    component may also be left out.
    """

    when: tuple[tuple[str, int], ...]
    component: str
    mask: int
    absent: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """A rule between releases: when all of ``when`` are present, ``requires`` and ``conflicts``.

    ``says`` is the rule in a sentence, ``source`` a URL or ``measured: …``; ``index`` is its
    place in the file.
    """

    id: str
    index: int
    says: str
    when: tuple[Term, ...]
    requires: tuple[Term, ...]
    conflicts: tuple[Term, ...]
    evidence: str
    source: str
    date: str
    implications: tuple[Implication, ...]

    @property
    def place(self) -> str:
        """Return where the rule's consequence stands, ``edges[12].requires.tensorflow``."""
        if self.requires:
            return f"edges[{self.index}].requires.{self.requires[0].component}"
        return f"edges[{self.index}].conflicts.{self.conflicts[0].component}"


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """All facts. ``preference`` orders every component, the most important first."""

    components: Mapping[str, Component]
    preference: tuple[str, ...]
    edges: tuple[Edge, ...]

    @cached_property
    def edges_by_id(self) -> Mapping[str, Edge]:
        """Return the edges by their ids."""
        return {edge.id: edge for edge in self.edges}


def release_order(versions: Iterable[Version]) -> tuple[Version, ...]:
    """Return versions in order of preference: stable ones newest first, then pre-releases."""
    return tuple(sorted(versions, key=lambda v: (not v.is_prerelease, v), reverse=True))


def mask_of(releases: tuple[Version, ...], specifiers: Iterable[SpecifierSet]) -> int:
    """Return the set of releases that match any of ``specifiers``, as a bit mask."""
    mask = 0
    for specifier in specifiers:
        if not len(specifier):
            return (1 << len(releases)) - 1
        for index, release in enumerate(releases):
            if specifier.contains(release, prereleases=True):
                mask |= 1 << index
    return mask


def fill(template: str, versions: Mapping[str, Version]) -> str:
    """Replace ``{component}``, ``{component.major}`` and ``{component.minor}``.

    Raises ``KeyError`` with the component's name when ``versions`` lacks it.
    """

    def value(found: re.Match[str]) -> str:
        version = versions[found[1]]
        if found[2] == "major":
            return str(version.major)
        return f"{version.major}.{version.minor}" if found[2] else str(version)

    return _PLACEHOLDER.sub(value, template)


def parse_matrix(text: str, *, file: str) -> Matrix:
    """Read ``matrix.yaml``; raise ``InvalidDefinition`` with the place of the first mistake."""
    top = read_yaml(text, file=file)
    top.keys(("components", "preference", "edges"))
    components = _components(top.get("components"))
    reader = _EdgeReader(components)
    edges: dict[str, Edge] = {}
    for index, place in enumerate(top.get("edges").each()):
        edge = reader.edge(place, index)
        if edge.id in edges:
            raise place.get("id").fail(
                f"edge {edge.id!r} is there twice", why=f"edges[{edges[edge.id].index}] has it too"
            )
        edges[edge.id] = edge
    return Matrix(
        components=components,
        preference=_preference(top.get("preference"), components),
        edges=tuple(edges.values()),
    )


def _components(place: Place) -> dict[str, Component]:
    found: dict[str, Component] = {}
    parts: list[tuple[str, Place]] = []
    for name, item in place.items():
        if not _NAME.fullmatch(name):
            raise item.fail(f"{name!r} is not a component name", hint="lower case, digits, '-'")
        found[name] = _component(name, item)
        if found[name].part_of:
            parts.append((name, item))
    for name, item in parts:
        part = found[name]
        whole = found.get(part.part_of or "")
        if whole is None or whole.part_of:
            options = (n for n, c in found.items() if not c.part_of)
            raise item.get("part-of").fail(
                f"unknown component {part.part_of!r}", hint=did_you_mean(str(part.part_of), options)
            )
        found[name] = Component(
            name=part.name,
            title=part.title,
            summary=part.summary,
            artifacts=part.artifacts,
            releases=whole.releases,
            on_request=part.on_request,
            part_of=part.part_of,
        )
    _check_templates(place, found)
    return found


def _component(name: str, place: Place) -> Component:
    place.keys(("title", "summary"), ("releases", "artifacts", "on-request", "part-of"))
    part_of, releases = place.maybe("part-of"), place.maybe("releases")
    if (part_of is None) == (releases is None):
        raise place.fail("a component has either 'releases' or 'part-of'")
    on_request, artifacts = place.maybe("on-request"), place.maybe("artifacts")
    return Component(
        name=name,
        title=place.get("title").text(),
        summary=place.get("summary").text(),
        artifacts=tuple(_artifact(a) for a in artifacts.each()) if artifacts else (),
        releases=_releases(releases) if releases else (),
        on_request=on_request.boolean() if on_request else False,
        part_of=part_of.text() if part_of else None,
        spellings=_spellings(releases) if releases else (),
    )


def _releases(place: Place) -> tuple[Version, ...]:
    seen: set[Version] = set()
    for item in place.each():
        try:
            version = Version(item.text())
        except InvalidVersion:
            raise item.fail(f"{item.value!r} is not a version") from None
        if version in seen:
            raise item.fail(f"release {version} is there twice")
        seen.add(version)
    if not seen:
        raise place.fail("a component without releases can never be chosen")
    return release_order(seen)


def _spellings(place: Place) -> tuple[str, ...]:
    return tuple(text for text in place.texts() if text != str(Version(text)))


def _artifact(place: Place) -> ArtifactTemplate:
    place.keys(("origin", "name"), ("variants",))
    variants = place.maybe("variants")
    return ArtifactTemplate(
        origin=place.get("origin").choice(ORIGINS),
        name=place.get("name").text(),
        variants=tuple(v.choice(VARIANTS) for v in variants.each()) if variants else VARIANTS,
    )


def _check_templates(place: Place, components: Mapping[str, Component]) -> None:
    for name, item in place.items():
        artifacts = item.maybe("artifacts")
        for artifact in artifacts.each() if artifacts else ():
            text = artifact.get("name").text()
            for used in _PLACEHOLDER.finditer(text):
                if used[1] not in components:
                    raise artifact.get("name").fail(
                        f"unknown component {used[1]!r} in the name of an artifact of {name}",
                        hint=did_you_mean(used[1], components),
                    )
            if set(_PLACEHOLDER.sub("", text)) & set("{}"):
                raise artifact.get("name").fail(
                    f"{text!r} has a placeholder that means nothing",
                    hint="{component}, {component.major} or {component.minor}",
                )


def _preference(place: Place, components: Mapping[str, Component]) -> tuple[str, ...]:
    order: list[str] = []
    for item in place.each():
        name = _known(item, item.text(), components)
        if name in order:
            raise item.fail(f"{name!r} is there twice")
        order.append(name)
    missing = [name for name in components if name not in order]
    if missing:
        raise place.fail(f"components without a place in the order: {', '.join(missing)}")
    return tuple(order)


def _known(place: Place, name: str, components: Mapping[str, Component]) -> str:
    if name not in components:
        raise place.fail(f"unknown component {name!r}", hint=did_you_mean(name, components))
    return name


class _EdgeReader:
    """Reads edges against the components; remembers masks, for the same specifiers recur."""

    def __init__(self, components: Mapping[str, Component]) -> None:
        self._components = components
        self._masks: dict[tuple[str, str], int] = {}

    def edge(self, place: Place, index: int) -> Edge:
        place.keys(("id", "says", "when", "evidence", "source", "date"), ("requires", "conflicts"))
        if place.maybe("requires") is None and place.maybe("conflicts") is None:
            raise place.fail("an edge needs 'requires' or 'conflicts'")
        when = self._terms(place.get("when"))
        requires = self._terms(place.maybe("requires"))
        conflicts = self._terms(place.maybe("conflicts"))
        if not when:
            raise place.get("when").fail("expected at least one component")
        implications = [
            *self._implications(place, "requires", when, requires),
            *self._implications(place, "conflicts", when, conflicts),
        ]
        return Edge(
            id=_edge_id(place.get("id")),
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
            _known(item, name, self._components)
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
        names = {m[1] for text in term.alternatives for m in _PLACEHOLDER.finditer(text)}
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
        return _ANY_SET
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


def _edge_id(place: Place) -> str:
    if not _NAME.fullmatch(place.text().replace(".", "-")):
        raise place.fail(f"{place.value!r} is not an edge id", hint="lower case, digits, '-', '.'")
    return place.text()


def _source(place: Place) -> str:
    text = place.text()
    if not text.startswith(("https://", "http://", MEASURED)):
        raise place.fail(
            f"{text!r} is not a source", hint=f"a URL, or '{MEASURED}' and what was done"
        )
    return text


def _date(place: Place) -> str:
    try:
        return date.fromisoformat(place.text()).isoformat()
    except ValueError:
        raise place.fail(f"{place.value!r} is not a date", hint="for example 2026-11-22") from None
