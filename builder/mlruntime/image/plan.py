"""The plan: which layers an image has, each with a key, and its configuration. Core: no I/O.

A layer's key identifies everything that can change its bytes, and can be computed before any of
its artifacts has been downloaded. Equal keys, equal bytes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from mlruntime.documents.reading import canonical_json
from mlruntime.image.config import PLAN_LABEL, ImageConfig, configured
from mlruntime.image.sources.debian import DebianSource, refuse_idle
from mlruntime.image.sources.jars import Jars
from mlruntime.image.sources.model import (
    EVERYTHING_ELSE,
    STACK_FILE,
    PlannedLayer,
    Planning,
    SharedOut,
    Tools,
)
from mlruntime.image.sources.python import PythonPackages
from mlruntime.image.stack import Stack
from mlruntime.image.templates import render, variables
from mlruntime.lock.model import Artifact, Lock, NativeWheel


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """An image before it is made. ``python`` is the interpreter's minor version ("3.11")."""

    runtime: str
    variant: str
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
        ]
        return f"sha256:{hashlib.sha256(canonical_json(content).encode()).hexdigest()}"

    @property
    def image_config(self) -> ImageConfig:
        """Return the image's configuration: the plan's, and the label with the plan's digest."""
        return self.config.labelled(PLAN_LABEL, self.digest)


def built_on(plan: Plan, lock: Lock, wheel: NativeWheel) -> tuple[PlannedLayer, ...]:
    """Return the layers that a native wheel is built on, bottom first.

    They are those with the system and the wheels that all variants have, and with those that it
    is built against. Layers with native wheels are left out: these are built side by side.
    """
    common = {a.sha256 for a in lock.python}
    against = {a.sha256 for a in wheel.link_against}
    found = []
    for layer in plan.layers:
        content = layer.content
        if wheel in content.native:
            break
        if isinstance(content, Jars) or content.native:
            continue
        if isinstance(content, PythonPackages):
            wheels = {a.sha256 for a in content.wheels}
            if not (wheels <= common or wheels & against):
                continue
        found.append(layer)
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
    """Return the plan for one variant.

    ``files`` are the definitions' ``images/`` folder, by relative path; ``version`` is this
    tool's. Raises ``InvalidDefinition`` for a stack that names what is not there.
    """
    known = variables(lock, variant)
    planning = Planning(
        lock=lock,
        variant=lock.variant(variant),
        patterns=_patterns(stack, known),
        files=files,
        known=known,
        tools=tools,
        version=version,
    )
    refuse_idle(planning.patterns.get(DebianSource, []), lock)
    layers = tuple(layer.planned(planning) for layer in stack.layers)
    return Plan(
        runtime=lock.runtime,
        variant=variant,
        python=planning.python,
        layers=tuple(layer for layer in layers if not layer.content.empty),
        config=configured(stack.config, lock, variant, known),
    )


def _patterns(stack: Stack, known: dict[str, object]) -> dict[type, list[tuple[str, str]]]:
    """Return, for each type of source, its layers' patterns of packages: (layer, pattern)."""
    found: dict[type, list[tuple[str, str]]] = {}
    for layer in stack.layers:
        if not isinstance(layer, SharedOut):
            continue
        named = found.setdefault(type(layer), [])
        named += [
            (layer.name, render(pattern, known, file=STACK_FILE))
            for pattern in layer.packages
            if pattern != EVERYTHING_ELSE
        ]
    return found
