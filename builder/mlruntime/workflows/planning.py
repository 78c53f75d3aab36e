"""The plan of a locked runtime: the core's ``plan``, with the recipes of our own tools."""

from typing import Final

from mlruntime import __version__
from mlruntime.build import bootstrap
from mlruntime.definitions.files import Definitions
from mlruntime.documents.reading import did_you_mean
from mlruntime.ecosystems.debian import packages as debian
from mlruntime.ecosystems.native import build as native
from mlruntime.ecosystems.pypi import bytecode
from mlruntime.errors import UsageError
from mlruntime.image.plan import Plan, plan
from mlruntime.image.sources.model import Tools
from mlruntime.lock.model import Lock
from mlruntime.workflows.locked import read_stack

TOOLS: Final = Tools(
    unpacking=debian.RECIPE,
    configuring=bootstrap.RECIPE,
    bytecode=bytecode.RECIPE,
    native=native.recipe,
)


def planned_image(definitions: Definitions, lock: Lock, variant: str) -> Plan:
    """Return the plan of one variant; an unknown one is a ``UsageError``."""
    known = tuple(v.name for v in lock.variants)
    if variant not in known:
        raise UsageError(
            f"{lock.runtime} has no variant {variant!r}", hint=did_you_mean(variant, known)
        )
    stack, files = read_stack(definitions), definitions.image_files()
    return plan(lock, variant, stack, files, tools=TOOLS, version=__version__)
