"""The plan of a locked runtime: the core's ``plan``, with the recipes of our own tools."""

from typing import Final

from builder import __version__, bootstrap, native
from builder.definitions import Definitions
from builder.document import did_you_mean
from builder.errors import UsageError
from builder.inputs import read_stack
from builder.layering import bytecode, debian
from builder.lock import Lock
from builder.plan import Plan, Tools, plan

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
