"""What a container of an image starts with, and the image's labels. Core: no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mlruntime.image.stack import StackConfig
from mlruntime.image.templates import render
from mlruntime.lock.model import CORE, Lock

LABEL: Final = "io.mlruntime"
PLAN_LABEL: Final = f"{LABEL}.plan.digest"
# Images of `core` do not have it: they are what images were before there were flavours.
FLAVOUR_LABEL: Final = f"{LABEL}.flavour"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageConfig:
    """What a container of the image starts with, and the image's labels."""

    user: str
    workdir: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]

    def labelled(self, name: str, value: str) -> "ImageConfig":
        """Return the same configuration with one more label."""
        return replace(self, labels=tuple(sorted((*self.labels, (name, value)))))


def configured(
    config: StackConfig,
    lock: Lock,
    variant: str,
    known: dict[str, Any],
    left_out: Mapping[str, str],
) -> ImageConfig:
    """Return the configuration of one variant; ``known`` are the variables of templates.

    ``left_out`` says of packages which of their files the image does not have, and why.
    """

    def rendered(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(render(text, known, file="images/layers.yaml") for text in texts)

    names = tuple(name for name, _ in config.environment)
    values = rendered(tuple(value for _, value in config.environment))
    return ImageConfig(
        user=config.user,
        workdir=config.workdir,
        entrypoint=rendered(config.entrypoint),
        command=rendered(config.command),
        environment=tuple(zip(names, values, strict=True)),
        labels=labels(lock, variant, left_out),
    )


def labels(lock: Lock, variant: str, left_out: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the labels an image of this lock and variant carries, sorted."""
    omitted = {o.component for o in lock.all_omitted}
    kind = variant if lock.flavour == CORE else f"{variant}, {lock.flavour}"
    found = {
        "org.opencontainers.image.title": f"mlruntime {lock.runtime} ({kind})",
        "org.opencontainers.image.version": lock.runtime,
        f"{LABEL}.runtime": lock.runtime,
        f"{LABEL}.variant": variant,
        f"{LABEL}.lock.digest": lock.digest,
    }
    if lock.flavour != CORE:
        found[FLAVOUR_LABEL] = lock.flavour
    components = lock.components_of(variant)
    found |= {f"{LABEL}.component.{n}": v for n, v in components if n not in omitted}
    found |= {f"{LABEL}.omitted.{o.component}": o.why for o in lock.all_omitted}
    found |= {f"{LABEL}.left-out.{name}": why for name, why in left_out.items()}
    contract = lock.variant(variant).contract
    return tuple(sorted((*found.items(), *(contract.labels() if contract else ()))))
