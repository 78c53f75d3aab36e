"""The plan: which layers an image has, each with a key, and its configuration. Core: no I/O.

A layer's key identifies everything that can change its bytes, and can be computed before any of
its artifacts has been downloaded. Equal keys, equal bytes.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from mlruntime.documents.reading import canonical_json
from mlruntime.errors import InvalidDefinition
from mlruntime.image.config import PLAN_LABEL, ImageConfig, configured
from mlruntime.image.sources.model import (
    EVERYTHING_ELSE,
    STACK_FILE,
    PlannedLayer,
    Planning,
    SharedOut,
    Tools,
)
from mlruntime.image.stack import Stack
from mlruntime.image.templates import render, variables
from mlruntime.lock.model import CORE, Lock
from mlruntime.lock.packages import Artifact, NativeWheel
from mlruntime.matrix.origins import ORIGINS


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """An image before it is made. ``python`` is the interpreter's minor version ("3.11")."""

    runtime: str
    variant: str
    flavour: str
    python: str
    layers: tuple[PlannedLayer, ...]
    config: ImageConfig

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Return every artifact the image itself is made of (not those of native builds)."""
        return tuple(dict.fromkeys(a for layer in self.layers for a in layer.content.artifacts))

    @property
    def digest(self) -> str:
        """Return ``sha256:…`` of all that decides the image but the time of its creation.

        Two plans with the same digest make the same image; an image's label tells it.
        """
        content = [
            self.runtime,
            self.variant,
            self.python,
            [[layer.name, layer.key] for layer in self.layers],
            asdict(self.config),
            *([] if self.flavour == CORE else [self.flavour]),
        ]
        return f"sha256:{hashlib.sha256(canonical_json(content).encode()).hexdigest()}"

    @property
    def image_config(self) -> ImageConfig:
        """Return the image's configuration: the plan's, and the label with the plan's digest."""
        return self.config.labelled(PLAN_LABEL, self.digest)


def built_on(plan: Plan, lock: Lock, wheel: NativeWheel) -> tuple[PlannedLayer, ...]:
    """Return the layers that a native wheel is built on, bottom first.

    They are those with the system and the wheels that all variants have, and with those that it
    is built against, and the files that images leave out of these. Layers with native wheels are
    none of them: these are built side by side.
    """
    common = frozenset(a.sha256 for a in lock.python)
    link_against = frozenset(a.sha256 for a in wheel.link_against)
    found: list[PlannedLayer] = []
    for layer in plan.layers:
        if wheel in layer.content.native:
            break
        if not layer.content.native:
            found += layer.content.built_on(layer, common, link_against)
    return tuple(found)


def plan(
    lock: Lock,
    variant: str,
    stack: Stack,
    files: Mapping[str, bytes],
    *,
    tools: Tools,
    version: str,
) -> Plan:
    """Return the plan for one variant, with all flavours of the lock: cut it for fewer.

    ``files`` are the definitions' ``images/`` folder, by relative path; ``version`` is this
    tool's. Raises ``InvalidDefinition`` for a stack that names what is not there.
    """
    plannings = {}
    for flavour in lock.flavour_names:
        own = lock.cut(flavour)
        known = variables(own, variant)
        plannings[flavour] = Planning(
            lock=own,
            variant=lock.variant(variant),
            part=lock.part(flavour, variant),
            patterns=_patterns(stack, flavour, known),
            files=files,
            known=known,
            tools=tools,
            version=version,
            apart=tuple(part for x in stack.layers if x.of == flavour for part in x.parts),
        )
    there = [layer for layer in stack.layers if layer.of in plannings]
    for layer in there:
        layer.check(plannings[layer.of], lock)
    layers = (replace(one.planned(plannings[one.of]), flavour=one.of) for one in there)
    kept = tuple(layer for layer in layers if not layer.content.empty)
    _refuse_homeless(lock, variant, kept)
    return Plan(
        runtime=lock.runtime,
        variant=variant,
        flavour=lock.flavour,
        python=plannings[CORE].python,
        layers=kept,
        config=configured(
            stack.config, lock, variant, plannings[lock.flavour].known, left_out(kept)
        ),
    )


def left_out(layers: Iterable[PlannedLayer]) -> dict[str, str]:
    """Return of which packages files are left out, by name: which, and why."""
    return {name: why for layer in layers for name, why in layer.content.incomplete.items()}


def _refuse_homeless(lock: Lock, variant: str, layers: tuple[PlannedLayer, ...]) -> None:
    """Refuse a flavour whose packages are in no layer."""
    placed = {artifact.sha256 for layer in layers for artifact in layer.content.artifacts}
    for flavour in lock.flavour_names:
        part = lock.part(flavour, variant)
        homeless = [a.name for a in part.artifacts if a.sha256 not in placed]
        # Not every stack has layers for packages of these ecosystems.
        for one in (*(package.artifact for package in part.conda), *part.packages):
            if one.sha256 not in placed:
                origin = one.origin.partition(":")[0]
                joined = ORIGINS[origin].joined
                how = f'{origin}, packages: ["*"]' if joined else f"ecosystem, ecosystem: {origin}"
                raise InvalidDefinition(
                    f"no layer has the {origin} packages of {lock.runtime}",
                    where=STACK_FILE,
                    hint=f"add a layer `{{name: {origin}, source: {how}}}`"
                    " above those of Debian, and below those of Python",
                )
        if homeless and flavour != CORE:
            raise InvalidDefinition(
                f"flavour {flavour!r}: {homeless[0]} is in no layer",
                where=STACK_FILE,
                hint=f"add a layer `{{name: {flavour}, flavour: {flavour}, source: python,"
                ' packages: ["*"]}`; jars need one with `source: jars`, Debian packages one with'
                " `source: debian` and one with `source: configured` above it",
            )


def _patterns(
    stack: Stack, flavour: str, known: dict[str, object]
) -> dict[type[SharedOut], list[tuple[str, str]]]:
    """Return, for each type of source, a flavour's patterns of packages: (layer, pattern)."""
    found: dict[type[SharedOut], list[tuple[str, str]]] = {}
    for layer in stack.layers:
        if not isinstance(layer, SharedOut) or layer.of != flavour:
            continue
        named = found.setdefault(type(layer), [])
        named += [
            (layer.name, render(pattern, known, file=STACK_FILE))
            for pattern in layer.packages
            if pattern != EVERYTHING_ELSE
        ]
    return found
