"""The compatibility facts, read from the text of ``matrix.yaml``. Core: no I/O.

``parse_matrix`` turns it into the types of ``matrix.model`` and refuses everything that cannot
mean what was intended; ``matrix.soundness`` asks what only solving can tell.
"""

from collections.abc import Mapping
from dataclasses import replace

from packaging.version import InvalidVersion, Version

from mlruntime.documents.reading import Place, did_you_mean, read_yaml
from mlruntime.matrix.model import (
    MEASURED,
    NAME,
    ORIGINS,
    PINS,
    PLACEHOLDER,
    VARIANTS,
    ArtifactTemplate,
    Component,
    Matrix,
    Rule,
    release_order,
)
from mlruntime.matrix.rules import RuleReader, known_component

__all__ = [
    "MEASURED",
    "ORIGINS",
    "VARIANTS",
    "Component",
    "Rule",
    "Matrix",
    "parse_matrix",
    "release_order",
]


def parse_matrix(text: str, *, file: str) -> Matrix:
    """Read ``matrix.yaml``; raise ``InvalidDefinition`` with the place of the first mistake."""
    top = read_yaml(text, file=file)
    top.keys(("components", "preference", "rules"), former={"edges": "rules"})
    components = _components(top.get("components"))
    reader = RuleReader(components)
    rules: dict[str, Rule] = {}
    for index, place in enumerate(top.get("rules").each()):
        rule = reader.rule(place, index)
        if rule.id in rules:
            raise place.get("id").fail(
                f"rule {rule.id!r} is there twice", why=f"rules[{rules[rule.id].index}] has it too"
            )
        rules[rule.id] = rule
    return Matrix(
        components=components,
        preference=_preference(top.get("preference"), components),
        rules=tuple(rules.values()),
    )


def _components(place: Place) -> dict[str, Component]:
    found: dict[str, Component] = {}
    parts: list[tuple[str, Place]] = []
    for name, item in place.items():
        if not NAME.fullmatch(name):
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
        found[name] = replace(part, releases=whole.releases, spellings=whole.spellings)
    _check_templates(place, found)
    return found


def _component(name: str, place: Place) -> Component:
    optional = ("releases", "artifacts", "on-request", "part-of", "variants")
    place.keys(("title", "summary"), optional)
    part_of, releases = place.maybe("part-of"), place.maybe("releases")
    if (part_of is None) == (releases is None):
        raise place.fail("a component has either 'releases' or 'part-of'")
    on_request, artifacts = place.maybe("on-request"), place.maybe("artifacts")
    variants = _variants(place)
    return Component(
        name=name,
        title=place.get("title").text(),
        summary=place.get("summary").text(),
        artifacts=tuple(_artifact(a, variants) for a in artifacts.each()) if artifacts else (),
        releases=_releases(releases) if releases else (),
        on_request=on_request.boolean() if on_request else False,
        part_of=part_of.text() if part_of else None,
        spellings=_spellings(releases) if releases else (),
        variants=variants,
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


def _variants(place: Place) -> tuple[str, ...]:
    found = place.maybe("variants")
    return tuple(variant.choice(VARIANTS) for variant in found.each()) if found else VARIANTS


def _artifact(place: Place, component: tuple[str, ...]) -> ArtifactTemplate:
    """Read one artifact of a component that is part of these variants."""
    place.keys(("origin", "name"), ("variants", "provides", "extras", "pin"))
    provides, extras, pin = place.maybe("provides"), place.maybe("extras"), place.maybe("pin")
    origin = place.get("origin").choice(ORIGINS)
    name = place.get("name").text()
    if provides and (origin != "pypi" or PLACEHOLDER.search(name)):
        raise provides.fail("only a package of PyPI, named in full, can stand for another one")
    for given in (extras, pin):
        if given and origin != "pypi":
            raise given.fail("only packages of PyPI have extras, or versions of their own")
    variants = tuple(v for v in _variants(place) if v in component)
    if not variants:
        raise place.get("variants").fail("its component is in none of these variants")
    return ArtifactTemplate(
        origin=origin,
        name=name,
        variants=variants,
        provides=provides.texts() if provides else (),
        extras=extras.texts() if extras else (),
        pin=pin.choice(PINS) if pin else "exact",
    )


def _check_templates(place: Place, components: Mapping[str, Component]) -> None:
    for name, item in place.items():
        artifacts = item.maybe("artifacts")
        for artifact in artifacts.each() if artifacts else ():
            text = artifact.get("name").text()
            for used in PLACEHOLDER.finditer(text):
                if used[1] not in components:
                    raise artifact.get("name").fail(
                        f"unknown component {used[1]!r} in the name of an artifact of {name}",
                        hint=did_you_mean(used[1], components),
                    )
            if set(PLACEHOLDER.sub("", text)) & set("{}"):
                raise artifact.get("name").fail(
                    f"{text!r} has a placeholder that means nothing",
                    hint="{component}, {component.major} or {component.minor}",
                )


def _preference(place: Place, components: Mapping[str, Component]) -> tuple[str, ...]:
    order: list[str] = []
    for item in place.each():
        name = known_component(item, item.text(), components)
        if name in order:
            raise item.fail(f"{name!r} is there twice")
        order.append(name)
    missing = [name for name in components if name not in order]
    if missing:
        raise place.fail(f"components without a place in the order: {', '.join(missing)}")
    return tuple(order)
