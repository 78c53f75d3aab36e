"""The compatibility facts, read from the text of ``matrix.yaml``. Core: no I/O.

``parse_matrix`` turns it into the types of ``matrix.model`` and refuses everything that cannot
mean what was intended; ``matrix.soundness`` asks what only solving can tell.
"""

from collections.abc import Mapping
from dataclasses import replace

from packaging.version import InvalidVersion, Version

from mlruntime.documents.reading import Location, did_you_mean, read_yaml
from mlruntime.documents.schema import checked
from mlruntime.matrix.document import ArtifactTemplateForm, ComponentForm, MatrixForm
from mlruntime.matrix.model import (
    ANY,
    MEASURED,
    PLACEHOLDER,
    VARIANTS,
    ArtifactTemplate,
    Component,
    Matrix,
    Rule,
    release_order,
)
from mlruntime.matrix.origins import ORIGINS
from mlruntime.matrix.rules import RuleReader, known_component, parse_specifier

__all__ = [
    "MEASURED",
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
    form = checked(MatrixForm, top)
    components = _components(form.components, top.get("components"))
    reader = RuleReader(components)
    rules: dict[str, Rule] = {}
    for index, rule_form in enumerate(form.rules):
        place = top.get("rules").at(index)
        rule = reader.rule(rule_form, place, index)
        if rule.id in rules:
            raise place.get("id").fail(
                f"rule {rule.id!r} is listed twice", why=f"rules[{rules[rule.id].index}] has it too"
            )
        rules[rule.id] = rule
    return Matrix(
        components=components,
        preference=_preference(top.get("preference"), components),
        rules=tuple(rules.values()),
    )


def _components(forms: Mapping[str, ComponentForm], place: Location) -> dict[str, Component]:
    found = {name: _component(name, form, place.get(name)) for name, form in forms.items()}
    for name, part in list(found.items()):
        if part.part_of is None:
            continue
        whole = found.get(part.part_of)
        if whole is None or whole.part_of:
            options = (n for n, c in found.items() if not c.part_of)
            raise (
                place.get(name)
                .get("part-of")
                .fail(
                    f"unknown component {part.part_of!r}", hint=did_you_mean(part.part_of, options)
                )
            )
        found[name] = replace(part, releases=whole.releases, spellings=whole.spellings)
    _check_templates(place, found)
    return found


def _component(name: str, form: ComponentForm, place: Location) -> Component:
    if (form.part_of is None) == (form.releases is None):
        raise place.fail("a component has either 'releases' or 'part-of'")
    variants = tuple(form.variants or VARIANTS)
    made = Component(
        name=name,
        title=form.title,
        summary=form.summary,
        artifacts=tuple(
            _artifact(artifact, place.get("artifacts").at(index), variants)
            for index, artifact in enumerate(form.artifacts or ())
        ),
        releases=_releases(place.get("releases")) if form.releases else (),
        on_request=bool(form.on_request),
        part_of=form.part_of,
        spellings=tuple(r for r in form.releases or () if r != str(Version(r))),
        variants=variants,
    )
    _check_artifacts(made, place)
    return made


def _check_artifacts(component: Component, location: Location) -> None:
    """Refuse artifacts that no release has, and releases that are locked without any."""
    if component.part_of is not None:
        return
    for index, artifact in enumerate(component.artifacts):
        if not any(artifact.is_of(release) for release in component.releases):
            raise (
                location.get("artifacts")
                .at(index)
                .get("releases")
                .fail(f"no release of {component.name} is {artifact.releases}")
            )
    for release in component.releases if component.artifacts else ():
        if not any(artifact.is_of(release) for artifact in component.artifacts):
            raise location.get("artifacts").fail(
                f"release {release} has no artifact: nothing of it would be installed",
                hint="widen the `releases` of one",
            )


def _releases(place: Location) -> tuple[Version, ...]:
    seen: set[Version] = set()
    for text in place.value:
        try:
            version = Version(text)
        except InvalidVersion:
            raise _item(place, text).fail(f"{text!r} is not a version") from None
        if version in seen:
            raise _item(place, text).fail(f"release {version} is listed twice")
        seen.add(version)
    return release_order(seen)


def _item(place: Location, value: str) -> Location:
    """Return the place of the last item of a list that has this value."""
    return [item for item in place.each() if item.value == value][-1]


def _artifact(
    form: ArtifactTemplateForm, place: Location, component: tuple[str, ...]
) -> ArtifactTemplate:
    """Return one artifact of a component that is part of these variants."""
    able = ORIGINS[form.origin]
    if form.provides and (not able.provides or PLACEHOLDER.search(form.name)):
        raise place.get("provides").fail(
            "only a package of PyPI, named in full, can stand for another one"
        )
    if form.extras and not able.extras:
        raise place.get("extras").fail("only packages of PyPI have extras")
    if form.pin and not able.pins:
        raise place.get("pin").fail("only packages of PyPI and conda have versions of their own")
    if form.excludes and not able.excludes:
        raise place.get("excludes").fail("only a jar can leave out what it needs")
    variants = tuple(v for v in form.variants or VARIANTS if v in component)
    if not variants:
        raise place.get("variants").fail("its component is in none of these variants")
    return ArtifactTemplate(
        origin=form.origin,
        name=form.name,
        variants=variants,
        provides=tuple(form.provides or ()),
        extras=tuple(form.extras or ()),
        pin=form.pin or "exact",
        releases=parse_specifier(form.releases or ANY, place.maybe("releases") or place),
        excludes=tuple(form.excludes or ()),
    )


def _check_templates(place: Location, components: Mapping[str, Component]) -> None:
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
                    f"{text!r} has an unknown placeholder",
                    hint="{component}, {component.major} or {component.minor}",
                )


def _preference(place: Location, components: Mapping[str, Component]) -> tuple[str, ...]:
    order: list[str] = []
    for item in place.each():
        name = known_component(item, item.text(), components)
        if name in order:
            raise item.fail(f"{name!r} is listed twice")
        order.append(name)
    missing = [name for name in components if name not in order]
    if missing:
        raise place.fail(f"components missing from `preference`: {', '.join(missing)}")
    return tuple(order)
