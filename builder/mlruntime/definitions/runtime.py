"""What a runtime asks for: ``runtimes/ID/runtime.yaml``. Core: no I/O."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from mlruntime.documents.reading import Place, did_you_mean, read_yaml
from mlruntime.errors import UsageError
from mlruntime.lock.contract import Promise, promise
from mlruntime.matrix.model import VARIANTS
from mlruntime.matrix.rules import parse_specifier

_ID: Final = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_DEBIAN_NAME: Final = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_SETTING: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)\s*(.*?)\s*")


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeDefinition:
    """A runtime before any version is chosen.

    ``snapshot`` is the moment (RFC 3339, UTC) after which uploads to PyPI are ignored;
    ``request`` the components wanted; ``python`` and ``debian`` what the image has beside them;
    ``gpu`` what a GPU variant promises, if there is one.
    """

    runtime: str
    summary: str
    snapshot: str
    variants: tuple[str, ...]
    request: tuple[tuple[str, SpecifierSet], ...]
    python: tuple[Requirement, ...]
    debian: tuple[str, ...]
    gpu: Promise | None = None

    def with_settings(self, settings: Iterable[str]) -> "RuntimeDefinition":
        """Return this runtime with request lines replaced or added: ``tensorflow==2.16.2``.

        A malformed setting is a ``UsageError``.
        """
        request = dict(self.request)
        for setting in settings:
            found = _SETTING.fullmatch(setting)
            spot = Place(setting, file="--set", error=UsageError)
            if found is None:
                raise spot.fail(f"{setting!r} is not a request", hint="COMPONENT==VERSION")
            name = found[1].lower()
            request[name] = parse_specifier(found[2] or "*", spot)
        return replace(self, request=tuple(request.items()))

    def must_fit(self, runtime: str, components: Iterable[str], *, file: str) -> None:
        """Raise ``InvalidDefinition`` unless this is ``runtime`` and all its components exist."""
        known = tuple(components)
        if self.runtime != runtime:
            spot = Place(self.runtime, file=file, path="runtime")
            raise spot.fail(f"this is the folder of {runtime!r}", hint=f"write {runtime!r}")
        for name, _ in self.request:
            if name not in known:
                spot = Place(name, file=file, path=f"request.{name}")
                raise spot.fail(f"unknown component {name!r}", hint=did_you_mean(name, known))


def parse_runtime(text: str, *, file: str) -> RuntimeDefinition:
    """Read ``runtime.yaml``; raise ``InvalidDefinition`` with the place of the first mistake.

    Whether the components exist is for ``must_fit`` to say, which is told the matrix's.
    """
    top = read_yaml(text, file=file)
    top.keys(("runtime", "summary", "snapshot", "variants", "request"), ("python", "debian", "gpu"))
    python, debian = top.maybe("python"), top.maybe("debian")
    request = tuple(
        (name, parse_specifier(item.text(), item)) for name, item in top.get("request").items()
    )
    if not request:
        raise top.get("request").fail("a runtime asks for at least one component")
    variants = _variants(top.get("variants"))
    return RuntimeDefinition(
        runtime=_matching(top.get("runtime"), _ID, "a runtime id", "6.0-ml"),
        summary=top.get("summary").text(),
        snapshot=_moment(top.get("snapshot")),
        variants=variants,
        request=request,
        python=_requirements(python) if python else (),
        debian=_packages(debian) if debian else (),
        gpu=_gpu(top, variants),
    )


def _gpu(top: Place, variants: tuple[str, ...]) -> Promise | None:
    found = top.maybe("gpu")
    if found is None and "gpu" in variants:
        raise top.get("variants").fail(
            "a runtime with a gpu variant says what it promises of GPUs",
            hint="add `gpu:` with architectures, ptx, cuda and memory_mib (docs/gpu.md)",
        )
    if found is not None and "gpu" not in variants:
        raise found.fail("this runtime has no gpu variant", hint="add gpu to variants")
    return promise(found) if found is not None else None


def _matching(place: Place, pattern: re.Pattern[str], kind: str, example: str) -> str:
    if not pattern.fullmatch(place.text()):
        raise place.fail(f"{place.value!r} is not {kind}", hint=f"for example {example}")
    return place.text()


def _moment(place: Place) -> str:
    text = place.text()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo != UTC or not text.endswith("Z"):
        raise place.fail(
            f"{text!r} is not a moment in UTC", hint="for example 2026-11-20T00:00:00Z"
        )
    return text


def _variants(place: Place) -> tuple[str, ...]:
    found: list[str] = []
    for item in place.each():
        if item.choice(VARIANTS) in found:
            raise item.fail(f"variant {item.value!r} is there twice")
        found.append(item.text())
    if not found:
        raise place.fail("a runtime has at least one variant", hint=f"known: {', '.join(VARIANTS)}")
    return tuple(found)


def _requirements(place: Place) -> tuple[Requirement, ...]:
    found: dict[str, Requirement] = {}
    for item in place.each():
        try:
            requirement = Requirement(item.text())
        except InvalidRequirement as problem:
            why = str(problem).splitlines()[0]
            raise item.fail(f"{item.value!r} is not a Python requirement", why=why) from None
        if requirement.url:
            raise item.fail("a requirement must come from the package index, not from a URL")
        name = canonicalize_name(requirement.name)
        if name in found:
            raise item.fail(f"{name} is there twice")
        found[name] = requirement
    return tuple(found.values())


def _packages(place: Place) -> tuple[str, ...]:
    found: list[str] = []
    for item in place.each():
        name = _matching(item, _DEBIAN_NAME, "the name of a Debian package", "ca-certificates")
        if name in found:
            raise item.fail(f"{name} is there twice")
        found.append(name)
    return tuple(found)
