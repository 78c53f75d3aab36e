"""From what a file asks for to a runtime's definition: components, and other packages. Core.

What a file says nothing of, the system above all, is that of a runtime that is there.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from packaging.markers import (
    InvalidMarker,
    Marker,
    UndefinedComparison,
    UndefinedEnvironmentName,
)
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from mlruntime.definitions.runtime import CondaDefinition, RuntimeDefinition
from mlruntime.ecosystems.pypi.markers import marker_environment
from mlruntime.importing.model import CONDA, PIP, Foreign, NotTaken, RequestedPackage
from mlruntime.matrix.model import PLACEHOLDER, Matrix

PYTHON: Final = "python"
# Of conda packages from nowhere: what conda itself would ask.
_NO_CHANNEL: Final = ("main",)
# What every image has, whatever a file says; of another runtime, unless the file names it.
_EVERY: Final = ("debian", PYTHON, "java", "scala", "spark", "mllib")
# A version of these names a line of releases in the matrix: so many parts of it.
_PARTS: Final = {PYTHON: 2, "java": 1}
_CUDA: Final = re.compile(r"nvidia-.*-cu\d+|cudatoolkit|cuda(-.*)?|pytorch-cuda")
_GPU: Final = "gpu"
_BAD_MARKERS: Final = (
    InvalidMarker,
    InvalidVersion,
    UndefinedComparison,
    UndefinedEnvironmentName,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Composed:
    """A runtime's definition from a file, on top of the system of the runtime ``like``."""

    definition: RuntimeDefinition
    like: str
    not_taken: tuple[NotTaken, ...]


def compose(
    foreign: Foreign, matrix: Matrix, like: RuntimeDefinition, *, runtime: str, summary: str
) -> Composed:
    """Return the definition of ``runtime`` for what a file asks for."""
    return _Composing(foreign, matrix, like).done(runtime, summary)


class _Composing:
    """What has been decided so far."""

    def __init__(self, foreign: Foreign, matrix: Matrix, like: RuntimeDefinition) -> None:
        self._foreign = foreign
        self._matrix = matrix
        self._like = like
        self._left: list[NotTaken] = []
        self._request: dict[str, SpecifierSet] = {}
        self._python: dict[str, Requirement] = {}
        self._conda: dict[str, str] = {}
        self._components: set[str] = set()
        self._known = {m: _known(matrix, origin) for m, origin in ((PIP, "pypi"), (CONDA, CONDA))}

    def done(self, runtime: str, summary: str) -> Composed:
        wanted = self._foreign.wanted
        has_conda = any(one.manager == CONDA for one in wanted)
        self._settle_python()
        for one in wanted:
            self._take(one)
        if has_conda:
            self._components.add(PYTHON)
        base = {name: spec for name, spec in self._like.request if name in _EVERY}
        first = [name for name, _ in self._like.request]
        request = base | {"spark": base.get("spark", SpecifierSet())} | self._request
        if "spark" in self._request:
            request["mllib"] = SpecifierSet()
        order = [*first, *(name for name in self._matrix.components if name not in first)]
        own = {canonicalize_name(one.name): one for one in self._like.python} | self._python
        conda = CondaDefinition(
            channels=tuple(dict.fromkeys(self._foreign.channels)) or _NO_CHANNEL,
            components=tuple(sorted(self._components, key=order.index)),
            packages=tuple(self._conda.values()),
        )
        definition = RuntimeDefinition(
            runtime=runtime,
            summary=summary,
            snapshot=self._like.snapshot,
            variants=("cpu",),
            request=tuple(sorted(request.items(), key=lambda pair: order.index(pair[0]))),
            python=tuple(own.values()),
            debian=self._like.debian,
            conda=conda if has_conda else CondaDefinition(),
        )
        left = (*self._foreign.not_taken, *self._left)
        return Composed(definition=definition, like=self._like.runtime, not_taken=left)

    def _settle_python(self) -> None:
        """Decide the Python: the file's, and if that leaves a choice, the other runtime's."""
        pythons = [one for one in self._foreign.wanted if one.name == PYTHON]
        texts = [self._foreign.python, *(one.specifier or "" for one in pythons)]
        where = pythons[0].where if pythons else ""
        for one in pythons:
            self._refuse_vague(one)
        own = self._shortened(PYTHON, ",".join(text for text in texts if text), where)
        theirs = dict(self._like.request).get(PYTHON, SpecifierSet())
        both = own & theirs
        releases = self._matrix.components[PYTHON].releases
        if any(both.contains(release) for release in releases):
            own = theirs
        self._request[PYTHON] = own
        fitting = [release for release in releases if own.contains(release)]
        self._minor = str(max(fitting or releases))

    def _take(self, one: RequestedPackage) -> None:
        if one.name == PYTHON or not self._applies(one):
            return
        if _CUDA.fullmatch(one.name) or self._is_for_gpus(one.name):
            self._leave(
                one,
                "it is for GPUs",
                "`variants: [cpu, gpu]` and `gpu:` (docs/gpu.md) bring CUDA as TensorFlow needs it",
            )
            return
        component = self._known[one.manager].get(one.name) or self._known[PIP].get(one.name)
        if component is None:
            self._take_other(one)
            return
        if one.manager == CONDA:
            if one.name in self._known[CONDA]:
                self._components.add(component)
            else:
                self._leave(
                    replace(one, name=f"{one.name} from a channel"),
                    f"the matrix knows no conda package of {component}: it comes from where it"
                    " does for other runtimes",
                )
        if one.extras:
            extras = ", ".join(one.extras)
            why = f"which extras of {component} an image has is the matrix's to say"
            self._leave(replace(one, name=f"{one.name}[{extras}]"), why)
        self._refuse_vague(one)
        specifier = self._shortened(component, one.specifier or "", one.where)
        self._request[component] = self._request.get(component, SpecifierSet()) & specifier

    def _refuse_vague(self, one: RequestedPackage) -> None:
        if one.specifier is None:
            what = replace(one, name=f"the versions of {one.spec!r}")
            self._leave(what, "PEP 440 cannot say them", "say them in `request:`")

    def _is_for_gpus(self, name: str) -> bool:
        component = self._matrix.components.get(name)
        return component is not None and component.variants == (_GPU,)

    def _take_other(self, one: RequestedPackage) -> None:
        """Take a package that is no component."""
        if one.manager == CONDA:
            if one.name in self._conda:
                self._leave(one, "it is asked for twice", "write one specification with both")
                return
            self._conda[one.name] = one.spec
            return
        before = self._python.get(one.name)
        extras = f"[{','.join(one.extras)}]" if one.extras else ""
        made = Requirement(f"{one.name}{extras}{one.specifier or ''}")
        if before is not None:
            made.specifier &= before.specifier
            made.extras |= before.extras
        self._python[one.name] = made

    def _applies(self, one: RequestedPackage) -> bool:
        """Return whether a marker holds in an image; what does not is told."""
        if not one.marker:
            return True
        try:
            markers = marker_environment(f"{self._minor}.0")
            known = {key: str(value) for key, value in markers.items()} | {"extra": ""}
            if Marker(one.marker).evaluate(known):
                return True
            why = f"`{one.marker}` is false on Linux with Python {self._minor}"
        except _BAD_MARKERS as bad:
            why = f"`{one.marker}` cannot be evaluated: {bad}"
        self._leave(one, why)
        return False

    def _shortened(self, component: str, text: str, where: str) -> SpecifierSet:
        """Return a specifier, its versions cut to what the matrix tells apart."""
        parts = _PARTS.get(component)
        if parts is None or not text:
            return SpecifierSet(text)
        short = ",".join(c for c in (_cut(clause, parts) for clause in text.split(",")) if c)
        try:
            found = SpecifierSet(short)
        except InvalidSpecifier:
            found = SpecifierSet()
        if found != SpecifierSet(text):
            why = f"a runtime names a line of {component}: {short or 'any'}"
            what = f"{component} {text}"
            self._left.append(NotTaken(what=what, where=where or component, why=why))
        return found

    def _leave(self, one: RequestedPackage, why: str, hint: str = "") -> None:
        self._left.append(NotTaken(what=one.name, where=one.where, why=why, hint=hint))


def _cut(clause: str, parts: int) -> str:
    """Return a clause about a line of releases: ``==3.11.7`` is ``==3.11.*``."""
    operator = re.match(r"[<>=!~]*", clause.strip())
    sign = operator[0] if operator else ""
    version = clause.strip()[len(sign) :]
    numbers = re.match(r"\d+(\.\d+)*", version)
    if numbers is None:
        return clause
    all_parts = numbers[0].split(".")
    short = ".".join(all_parts[:parts])
    is_longer = len(all_parts) > parts and any(int(p) for p in all_parts[parts:])
    if sign in ("==", "==="):
        return f"=={short}.*"
    if sign == "~=":
        return f">={short}" if len(all_parts) <= parts else f"=={short}.*"
    if sign == "!=":
        return "" if is_longer and not version.endswith("*") else f"!={short}.*"
    if is_longer:  # of the line itself, some releases are meant
        return f"{'>=' if sign.startswith('>') else '<='}{short}"
    return f"{sign}{short}"


def _known(matrix: Matrix, origin: str) -> dict[str, str]:
    """Return the component of each package of an origin, by the package's name."""
    found: dict[str, str] = {}
    for name, component in matrix.components.items():
        for artifact in component.artifacts:
            if artifact.origin == origin and not PLACEHOLDER.search(artifact.name):
                for one in (artifact.name, *artifact.provides):
                    found.setdefault(one, name)
    return found


def lines_of(specifier: SpecifierSet) -> str:
    """Return a specifier as ``runtime.yaml`` has it."""
    return str(specifier) or "*"


def text_of(composed: Composed, *, file: str, head: Iterable[str] = ()) -> str:
    """Return the text of ``runtime.yaml``."""
    return "\n".join(_text(composed, file, head)) + "\n"


def _text(composed: Composed, file: str, head: Iterable[str]) -> Iterator[str]:
    import json

    made = composed.definition
    yield from head
    yield f"# From {file}, by `mlruntime import`; what it says nothing of is as in {composed.like}."
    yield f"runtime: {made.runtime}"
    yield f"summary: {json.dumps(made.summary)}"
    yield f"snapshot: {made.snapshot}  # uploads to PyPI after this moment are ignored"
    yield f"variants: [{', '.join(made.variants)}]"
    yield "request:"
    yield from (f"  {name}: {json.dumps(lines_of(spec))}" for name, spec in made.request)
    if made.conda.channels:
        yield "conda:"
        yield f"  channels: {json.dumps(list(made.conda.channels))}"
        yield f"  components: [{', '.join(made.conda.components)}]"
        if made.conda.packages:
            yield "  packages:"
            yield from (f"    - {json.dumps(one)}" for one in made.conda.packages)
    if made.python:
        yield "python:"
        yield from (f"  - {json.dumps(str(one))}" for one in made.python)
    if made.debian:
        yield "debian:"
        yield from (f"  - {name}" for name in made.debian)
