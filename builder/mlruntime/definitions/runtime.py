"""What a runtime asks for: ``runtimes/ID/runtime.yaml``. Core: no I/O."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Final

from msgspec import Meta
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from mlruntime.definitions.lifecycle import Lifecycle, LifecycleForm, lifecycle
from mlruntime.documents.reading import Location, did_you_mean, read_yaml
from mlruntime.documents.schema import Form, Natural, Text, checked, described, moment
from mlruntime.errors import UsageError
from mlruntime.lock.contract import Promise, PromiseForm, promise
from mlruntime.lock.model import CORE, tag
from mlruntime.matrix.delivery import deliverable
from mlruntime.matrix.document import Exclusion
from mlruntime.matrix.model import Component, VariantName
from mlruntime.matrix.rules import parse_specifier

_SETTING: Final = re.compile(r"\s*([A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(.*?)\s*")


RuntimeId = Annotated[str, described("a runtime id", r"^[a-z0-9]+([.-][a-z0-9]+)*$", "6.0-ml")]
DebianName = Annotated[
    str, described("the name of a Debian package", "^[a-z0-9][a-z0-9+.-]+$", "ca-certificates")
]
Moment = Annotated[
    str, described("a UTC timestamp", r"^\d{4}-\d\d-\d\dT.*Z$", "2026-11-20T00:00:00Z")
]


FlavourName = Annotated[str, described("the name of a flavour", r"^[a-z][a-z0-9]*$", "notebook")]


class FlavourDefinitionForm(Form, frozen=True):
    """What a flavour has beyond those before it."""

    summary: Text
    request: dict[str, Text] | None = None
    python: list[Text] | None = None
    debian: list[DebianName] | None = None
    jars: list[Text] | None = None
    without_jars: list[Exclusion] | None = None


CHANNEL: Final = r"^([A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)*|(https?|file)://[^@\s]+)$"
Channel = Annotated[
    str,
    described(
        "a channel's name or address, without a login",
        CHANNEL,
        "conda-forge",
    ),
]


class CondaRequestForm(Form, frozen=True):
    """What comes from conda's channels: components, and other packages."""

    channels: Annotated[list[Channel], Meta(min_length=1)]
    components: list[Text] | None = None
    packages: list[Text] | None = None


class RuntimeForm(Form, frozen=True):
    """What a runtime asks for, before any version is chosen."""

    runtime: RuntimeId
    summary: Text
    snapshot: Moment
    variants: Annotated[list[VariantName], Meta(min_length=1)]
    request: Annotated[dict[str, Text], Meta(min_length=1)]
    python: list[Text] | None = None
    debian: list[DebianName] | None = None
    conda: CondaRequestForm | None = None
    gpu: PromiseForm | None = None
    flavours: dict[FlavourName, FlavourDefinitionForm] | None = None
    budgets: dict[Text, Natural] | None = None
    lifecycle: LifecycleForm | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FlavourDefinition:
    """What a flavour has beyond those before it: components, and other packages and jars.

    ``jars`` are ``GROUP:ARTIFACT:VERSION``, and a classifier may follow; ``without_jars`` are those
    that none of its jars bring (``GROUP:ARTIFACT``, either of which may be ``*``).
    """

    name: str
    summary: str
    request: tuple[tuple[str, SpecifierSet], ...]
    python: tuple[Requirement, ...]
    jars: tuple[str, ...] = ()
    without_jars: tuple[str, ...] = ()
    debian: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CondaDefinition:
    """What comes from conda's channels, which are in the order of their priority.

    ``components`` are those that are taken from there, ``packages`` match specifications of what
    else is.
    """

    channels: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeDefinition:
    """A runtime before any version is chosen.

    ``snapshot`` is the moment (RFC 3339, UTC) after which uploads to PyPI are ignored;
    ``request`` the components wanted; ``python`` and ``debian`` what the image has beside them;
    ``conda`` what comes from channels;
    ``gpu`` what a GPU variant promises, if there is one; ``flavours`` what images have on top of
    that, each with all that those before it have; ``budgets`` how many bytes the image of a tag
    (``cpu``, ``gpu-ml``) may have, compressed; ``lifecycle`` how long it is supported, if that is
    said. The last two change neither lock nor image.
    """

    runtime: str
    summary: str
    snapshot: str
    variants: tuple[str, ...]
    request: tuple[tuple[str, SpecifierSet], ...]
    python: tuple[Requirement, ...]
    debian: tuple[str, ...]
    gpu: Promise | None = None
    flavours: tuple[FlavourDefinition, ...] = ()
    budgets: tuple[tuple[str, int], ...] = ()
    lifecycle: Lifecycle | None = None
    conda: CondaDefinition = CondaDefinition()

    def with_settings(self, settings: Iterable[str]) -> "RuntimeDefinition":
        """Return this runtime with request lines replaced or added: ``tensorflow==2.16.2``.

        Names are normalised as PEP 503 has it, so ``tf_keras`` is tf-keras. A malformed setting,
        and two for one component, are ``UsageError``s.
        """
        request, given = dict(self.request), set()
        for setting in settings:
            found = _SETTING.fullmatch(setting)
            spot = Location(setting, file="--set", error=UsageError)
            if found is None:
                raise spot.fail(f"{setting!r} is not a request", hint="COMPONENT==VERSION")
            name = canonicalize_name(found[1])
            if name in given:
                raise spot.fail(f"{name} is set twice", hint="give one: --set 'NAME>=3.5,<4'")
            given.add(name)
            request[name] = parse_specifier(found[3] or "*", spot)
        return replace(self, request=tuple(request.items()))

    def must_fit(self, runtime: str, components: Mapping[str, Component], *, file: str) -> None:
        """Raise ``InvalidDefinition`` unless this is ``runtime`` and all its components exist.

        What is to come from channels must be there, too.
        """
        known = tuple(components)
        if self.runtime != runtime:
            spot = Location(self.runtime, file=file, path="runtime")
            raise spot.fail(f"this is the folder of {runtime!r}", hint=f"write {runtime!r}")
        requests = {"request": self.request}
        requests |= {f"flavours.{one.name}.request": one.request for one in self.flavours}
        for path, name in ((path, name) for path, lines in requests.items() for name, _ in lines):
            if name not in known:
                spot = Location(name, file=file, path=f"{path}.{name}")
                raise spot.fail(f"unknown component {name!r}", hint=did_you_mean(name, known))
        there = deliverable(components)
        for name in self.conda.components:
            if name not in there:
                spot = Location(name, file=file, path="conda.components")
                raise spot.fail(
                    f"the matrix knows no conda package of {name!r}",
                    hint=f"add an artifact with `origin: conda` to it in matrix.yaml; known:"
                    f" {', '.join(there) or 'none'}",
                )


def parse_runtime(text: str, *, file: str) -> RuntimeDefinition:
    """Read ``runtime.yaml``; raise ``InvalidDefinition`` with the place of the first mistake.

    Whether the components exist is for ``must_fit`` to say, which is told the matrix's.
    """
    top = read_yaml(text, file=file)
    form = checked(RuntimeForm, top)
    return RuntimeDefinition(
        runtime=form.runtime,
        summary=form.summary,
        snapshot=moment(form.snapshot, top.get("snapshot")),
        variants=_different(form.variants, top, "variants"),
        request=_request(form.request, top),
        python=_requirements(top.get("python")) if form.python else (),
        debian=_different(form.debian or (), top, "debian"),
        gpu=_gpu(form, top),
        flavours=tuple(
            _flavour(name, flavour, top.get("flavours").get(name))
            for name, flavour in (form.flavours or {}).items()
        ),
        budgets=tuple(_budgets(form, top)),
        lifecycle=lifecycle(form.lifecycle, top.get("lifecycle")) if form.lifecycle else None,
        conda=_conda(form.conda, top.get("conda")) if form.conda else CondaDefinition(),
    )


def _conda(form: CondaRequestForm, place: Location) -> CondaDefinition:
    if not form.components and not form.packages:
        raise place.fail("nothing comes from these channels", hint="add components or packages")
    return CondaDefinition(
        channels=_different(form.channels, place, "channels"),
        components=_different(form.components or (), place, "components"),
        packages=_different(form.packages or (), place, "packages"),
    )


def _budgets(form: RuntimeForm, top: Location) -> Iterator[tuple[str, int]]:
    flavours = (CORE, *(form.flavours or {}))
    tags = [tag(variant, flavour) for variant in form.variants for flavour in flavours]
    for name, megabytes in (form.budgets or {}).items():
        if name not in tags:
            raise top.get("budgets").fail(
                f"{name!r} is no image of this runtime", hint=did_you_mean(name, tags)
            )
        yield name, megabytes * 1_000_000


def _flavour(name: str, form: FlavourDefinitionForm, place: Location) -> FlavourDefinition:
    if name == CORE:
        raise place.fail(
            f"{CORE} is what every image has", hint="declare its packages outside of `flavours:`"
        )
    if not (form.request or form.python or form.debian or form.jars):
        raise place.fail(
            "this flavour adds nothing", hint="give it `request:`, `python:`, `debian:` or `jars:`"
        )
    return FlavourDefinition(
        name=name,
        summary=form.summary,
        request=_request(form.request, place) if form.request else (),
        python=_requirements(place.get("python")) if form.python else (),
        jars=_different(form.jars or (), place, "jars"),
        without_jars=_different(form.without_jars or (), place, "without-jars"),
        debian=_different(form.debian or (), place, "debian"),
    )


def _request(lines: Mapping[str, str], place: Location) -> tuple[tuple[str, SpecifierSet], ...]:
    spot = place.get("request")
    return tuple((name, parse_specifier(text, spot.get(name))) for name, text in lines.items())


def _gpu(form: RuntimeForm, top: Location) -> Promise | None:
    if form.gpu is None and "gpu" in form.variants:
        raise top.get("variants").fail(
            "a runtime with a gpu variant says what it promises of GPUs",
            hint="add `gpu:` with architectures, ptx, cuda and memory_mib (docs/gpu.md)",
        )
    if form.gpu is None:
        return None
    if "gpu" not in form.variants:
        raise top.get("gpu").fail("this runtime has no gpu variant", hint="add gpu to variants")
    return promise(form.gpu, top.get("gpu"))


def _different(texts: Iterable[str], top: Location, key: str) -> tuple[str, ...]:
    """Return what a list has, each of it once."""
    found: list[str] = []
    for index, text in enumerate(texts):
        if text in found:
            raise top.get(key).at(index).fail(f"{text!r} is listed twice")
        found.append(text)
    return tuple(found)


def _requirements(place: Location) -> tuple[Requirement, ...]:
    found: dict[str, Requirement] = {}
    for item in place.each():
        try:
            requirement = Requirement(item.value)
        except InvalidRequirement as problem:
            why = str(problem).splitlines()[0]
            raise item.fail(f"{item.value!r} is not a Python requirement", why=why) from None
        if requirement.url:
            raise item.fail("a requirement must come from the package index, not from a URL")
        name = canonicalize_name(requirement.name)
        if name in found:
            raise item.fail(f"{name} is listed twice")
        found[name] = requirement
    return tuple(found.values())
