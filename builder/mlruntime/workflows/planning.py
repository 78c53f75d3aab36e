"""The plan of a locked runtime: the core's ``plan``, with the recipes of our own tools."""

from dataclasses import replace
from typing import Final

from mlruntime import __version__
from mlruntime.build import bootstrap
from mlruntime.definitions.files import Definitions
from mlruntime.documents.reading import did_you_mean
from mlruntime.ecosystems.debian import packages as debian
from mlruntime.ecosystems.native import build as native
from mlruntime.ecosystems.pypi import bytecode
from mlruntime.ecosystems.registered import ECOSYSTEMS
from mlruntime.errors import UsageError
from mlruntime.image.plan import Plan, plan
from mlruntime.image.sources.jars import JarsSource
from mlruntime.image.sources.literal import FilesSource
from mlruntime.image.sources.model import EVERYTHING_ELSE, LayerSource, Tools
from mlruntime.image.sources.python import PythonSource
from mlruntime.image.stack import Stack
from mlruntime.lock.model import Lock
from mlruntime.workflows.locked import read_stack

TOOLS: Final = Tools(
    unpacking=debian.RECIPE,
    configuring=bootstrap.RECIPE,
    configuring_more=bootstrap.RECIPE_ON_TOP,
    bytecode=bytecode.RECIPE,
    native=native.recipe,
    installing=lambda origin: ECOSYSTEMS[origin].recipe,
)

# Where Spark's own jars are, if no layer has jars of the runtime.
_JARS: Final = "{{ site_packages }}/pyspark/jars"


def with_additions(stack: Stack, lock: Lock) -> Stack:
    """Return the layers of an image, with those for the packages that somebody adds to a runtime.

    They are what ``layers.yaml`` has for a flavour: the packages, and what pip may not move; and
    jars, which go where those of the runtime are.
    """
    into = next((x.into for x in stack.layers if isinstance(x, JarsSource)), _JARS)
    added: list[LayerSource] = []
    for flavour in (flavour for flavour in lock.flavours if flavour.is_added):
        name = flavour.name
        if flavour.requirements:
            added.append(PythonSource(name=name, flavour=name, packages=[EVERYTHING_ELSE]))
            added.append(FilesSource(name=f"{name}-constraints", flavour=name, files="constraints"))
        if flavour.jar_requirements:
            added.append(JarsSource(name=f"{name}-jars", flavour=name, into=into))
    return replace(stack, layers=(*stack.layers, *added))


def planned_image(definitions: Definitions, lock: Lock, variant: str) -> Plan:
    """Return the plan of one variant; an unknown one is a ``UsageError``."""
    known = tuple(v.name for v in lock.variants)
    if variant not in known:
        raise UsageError(
            f"{lock.runtime} has no variant {variant!r}", hint=did_you_mean(variant, known)
        )
    stack = with_additions(read_stack(definitions), lock)
    files = definitions.image_files()
    return plan(lock, variant, stack, files, tools=TOOLS, version=__version__)
