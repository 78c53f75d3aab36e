"""What the ecosystems are asked for: a runtime whose versions are chosen. Core: no I/O."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from packaging.utils import canonicalize_name

from mlruntime.definitions.runtime import FlavourDefinition, RuntimeDefinition
from mlruntime.ecosystems.conda import ORIGIN as CONDA
from mlruntime.ecosystems.debian import ORIGIN as DEBIAN
from mlruntime.ecosystems.maven import ORIGIN as MAVEN
from mlruntime.ecosystems.maven.lines import JarLine, one_of_each, parse_jar
from mlruntime.ecosystems.pypi import ORIGIN as PYPI
from mlruntime.ecosystems.wanted import RequestedArtifact
from mlruntime.errors import InvalidDefinition
from mlruntime.lock.contract import HostContract
from mlruntime.matrix.news import alternatives
from mlruntime.matrix.origins import ORIGINS
from mlruntime.matrix.parsing import VARIANTS, Matrix
from mlruntime.resolve.model import Resolution
from mlruntime.resolve.resolution import named_artifacts, oldest_allowed, resolve_beside


@dataclass(frozen=True, kw_only=True, slots=True)
class FlavourRequest:
    """What the ecosystems are asked for by one flavour, beyond those before it.

    ``debian`` are Debian packages; ``jars`` are jars beside those of components, as
    ``GROUP:ARTIFACT:VERSION`` and perhaps a classifier; ``without_jars`` is what none of the
    flavour's jars bring though their metadata name it (``GROUP:ARTIFACT``). ``requirements`` are
    the lines of a requirements file, where that is what asks; ``jar_requirements`` those of a list
    of jars.
    """

    name: str
    versions: tuple[tuple[str, str], ...]
    wanted: tuple[RequestedArtifact, ...]
    python: tuple[str, ...]
    requirements: tuple[str, ...] = ()
    jars: tuple[str, ...] = ()
    jar_requirements: tuple[str, ...] = ()
    without_jars: tuple[str, ...] = ()
    debian: tuple[str, ...] = ()

    @property
    def has_python(self) -> bool:
        """Return whether any Python package is asked for."""
        return bool(self.python or self.of(PYPI))

    def of(self, origin: str) -> tuple[RequestedArtifact, ...]:
        """Return the artifacts of one origin."""
        return tuple(one for one in self.wanted if one.origin == origin)

    def without(self, components: Iterable[str]) -> "FlavourRequest":
        """Return the same flavour less some components' artifacts."""
        gone = set(components)
        return replace(self, wanted=tuple(w for w in self.wanted if w.component not in gone))


@dataclass(frozen=True, kw_only=True, slots=True)
class LockRequest:
    """A runtime whose versions are chosen: what the ecosystems are asked for.

    ``only`` are the components that are not part of every variant, with those they are part of;
    ``contracts`` what variants ask of a host's GPUs; ``conda`` are match specifications of what
    else comes from ``channels``; ``flavours`` what is asked for on top of all
    that, which is ``core``.
    """

    runtime: str
    snapshot: str
    variants: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    wanted: tuple[RequestedArtifact, ...]
    python: tuple[str, ...]
    debian: tuple[str, ...]
    only: tuple[tuple[str, tuple[str, ...]], ...] = ()
    contracts: tuple[tuple[str, HostContract], ...] = ()
    flavours: tuple[FlavourRequest, ...] = ()
    channels: tuple[str, ...] = ()
    conda: tuple[str, ...] = ()

    @property
    def core(self) -> "LockRequest":
        """Return the same runtime without flavours."""
        return replace(self, flavours=())

    def common(self) -> tuple[tuple[str, str], ...]:
        """Return the versions of the components that every variant has."""
        return tuple(pair for pair in self.versions if pair[0] not in dict(self.only))

    def own(self, variant: str) -> tuple[tuple[str, str], ...]:
        """Return the versions of the components that one variant has and another has not."""
        only = dict(self.only)
        return tuple(pair for pair in self.versions if variant in only.get(pair[0], ()))

    @property
    def present(self) -> dict[str, str]:
        """Return the versions of all components that some variant or flavour asked for has."""
        return (
            dict(self.common())
            | dict(c for v in self.variants for c in self.own(v))
            | dict(c for flavour in self.flavours for c in flavour.versions)
        )

    def of(self, origin: str, variant: str | None = None) -> tuple[RequestedArtifact, ...]:
        """Return the artifacts of one origin, in one variant or in any."""
        return tuple(
            w for w in self.wanted if w.origin == origin and (not variant or variant in w.variants)
        )

    def without(self, components: Iterable[str]) -> "LockRequest":
        """Return the same runtime less some components."""
        gone = set(components)
        return replace(
            self,
            versions=tuple((name, v) for name, v in self.versions if name not in gone),
            wanted=tuple(w for w in self.wanted if w.component not in gone),
        )


def refuse_future(request: LockRequest, now: datetime) -> None:
    """Raise ``InvalidDefinition`` for a snapshot after ``now``: what is uploaded until then counts.

    Two locks of one definition would differ.
    """
    if datetime.fromisoformat(request.snapshot) > now:
        raise InvalidDefinition(
            f"{request.snapshot} is in the future",
            where=f"runtimes/{request.runtime}/runtime.yaml: snapshot",
            why="packages that are uploaded until then would change the lock",
            hint="write a past timestamp, for example 2026-11-20T00:00:00Z",
        )


def ask(matrix: Matrix, definition: RuntimeDefinition, resolution: Resolution) -> LockRequest:
    """Return what has to be locked for a resolved runtime.

    Raises ``InvalidDefinition`` for a component among the further packages: its versions are the
    matrix's to choose.
    """
    _refuse_components(matrix, definition)
    return LockRequest(
        runtime=definition.runtime,
        snapshot=definition.snapshot,
        variants=definition.variants,
        versions=tuple(sorted((name, str(v)) for name, v in resolution.versions)),
        wanted=_wanted(matrix, definition, resolution),
        python=tuple(str(requirement) for requirement in definition.python),
        debian=definition.debian,
        only=tuple(
            (name, matrix.components[name].variants)
            for name, _ in resolution.versions
            if matrix.components[name].variants != VARIANTS
        ),
        contracts=_contracts(matrix, definition, resolution),
        flavours=_flavours(matrix, definition, resolution),
        channels=definition.conda.channels,
        conda=definition.conda.packages,
    )


def _flavours(
    matrix: Matrix, definition: RuntimeDefinition, resolution: Resolution
) -> tuple[FlavourRequest, ...]:
    """Choose the versions of each flavour's components, beside those that are chosen before."""
    found = []
    for flavour in definition.flavours:
        before = dict(resolution.versions)
        if flavour.request:
            resolution = resolve_beside(matrix, resolution, flavour.request)
        added = {name: str(v) for name, v in resolution.versions if name not in before}
        wanted = _wanted(matrix, definition, resolution)
        found.append(
            FlavourRequest(
                name=flavour.name,
                versions=tuple(sorted(added.items())),
                wanted=tuple(w for w in wanted if w.component in added),
                python=tuple(str(requirement) for requirement in flavour.python),
                jars=tuple(line.text for line in jar_lines(definition, flavour)),
                without_jars=flavour.without_jars,
                debian=flavour.debian,
            )
        )
    return tuple(found)


def jar_lines(definition: RuntimeDefinition, flavour: FlavourDefinition) -> tuple[JarLine, ...]:
    """Return the jars of a flavour beside its components; raises for what cannot be locked."""
    where = f"runtimes/{definition.runtime}/runtime.yaml: flavours.{flavour.name}.jars"
    lines = [parse_jar(text, f"{where}[{index}]") for index, text in enumerate(flavour.jars)]
    return one_of_each(lines)


def _wanted(
    matrix: Matrix, definition: RuntimeDefinition, resolution: Resolution
) -> tuple[RequestedArtifact, ...]:
    """Return every artifact of a resolution that some variant has."""
    wanted: dict[tuple[str, str, str], RequestedArtifact] = {}
    for variant in VARIANTS:
        for origin, traits in ORIGINS.items():
            for found in named_artifacts(matrix, resolution, origin, variant):
                name = traits.canonical(found.name)
                key = (found.component, origin, name)
                before = wanted[key].variants if key in wanted else ()
                wanted[key] = RequestedArtifact(
                    component=found.component,
                    origin=origin,
                    name=name,
                    version=found.version,
                    variants=(*before, variant),
                    provides=tuple(canonicalize_name(n) for n in found.template.provides),
                    extras=found.template.extras,
                    pin=found.template.pin,
                    excludes=found.template.excludes,
                )
    return tuple(w for w in wanted.values() if set(w.variants) & set(definition.variants))


def _refuse_components(matrix: Matrix, definition: RuntimeDefinition) -> None:
    """Refuse a package of ``python`` or ``debian`` that a component of the matrix consists of."""
    components = {
        (template.origin, canonicalize_name(name)): component
        for component in matrix.components.values()
        for template in component.artifacts
        for name in (*alternatives(template.name, matrix), *template.provides)
    }
    lines = [(PYPI, "python", str(line), line.name) for line in definition.python]
    lines += [
        (PYPI, f"flavours.{flavour.name}.python", str(line), line.name)
        for flavour in definition.flavours
        for line in flavour.python
    ]
    lines += [
        (MAVEN, f"flavours.{flavour.name}.jars", line.text, line.jar.project.name)
        for flavour in definition.flavours
        for line in jar_lines(definition, flavour)
    ]
    lines += [(DEBIAN, "debian", line, line) for line in definition.debian]
    lines += [
        (DEBIAN, f"flavours.{flavour.name}.debian", line, line)
        for flavour in definition.flavours
        for line in flavour.debian
    ]
    lines += [
        (CONDA, "conda.packages", line, re.split(r"[\s=<>!~\[]", line.strip(), maxsplit=1)[0])
        for line in definition.conda.packages
    ]
    for origin, key, line, name in lines:
        component = components.get((origin, canonicalize_name(name)))
        if component is not None:
            raise InvalidDefinition(
                f"{line!r} is part of a component of the matrix, {component.name}",
                where=f"runtimes/{definition.runtime}/runtime.yaml: {key}",
                why="its version must fit those of all others, which only the matrix knows",
                hint=f"ask for it under `request:`, for example `{component.name}:"
                f' "=={component.spell(component.newest)}"`',
            )


def _contracts(
    matrix: Matrix, definition: RuntimeDefinition, resolution: Resolution
) -> tuple[tuple[str, HostContract], ...]:
    if definition.gpu is None or "gpu" not in definition.variants:
        return ()
    driver = oldest_allowed(matrix, resolution, "driver")
    if driver is None:
        raise InvalidDefinition(
            "nothing says which driver the gpu variant needs",
            where="matrix.yaml: rules",
            why="no rule requires a driver beside the versions that were chosen",
            hint='ask for cuda in runtime.yaml: `cuda: "==12.*"`',
        )
    return (("gpu", definition.gpu.contract(driver)),)
