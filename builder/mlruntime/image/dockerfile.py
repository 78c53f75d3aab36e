"""The same image as a Dockerfile, rendered from the plan. Core: values in, text out."""

from collections import defaultdict
from collections.abc import Sequence

from mlruntime.image.plan import Plan
from mlruntime.image.templates import render, variables
from mlruntime.lock.model import Lock


def dockerfile(plan: Plan, lock: Lock, template: str, native_wheels: Sequence[str]) -> str:
    """Return a Dockerfile for the image that ``plan`` describes.

    ``native_wheels`` are the file names of the natively built wheels, which only the store knows.
    """
    # Those that the template has even if no layer has anything for them.
    empty: dict[str, set[str]] = {name: set() for name in ("packages", "wheels", "linked")}
    lists = defaultdict(set, empty | {"wheels": set(native_wheels)})
    for layer in plan.layers:
        for name, entry in layer.content.for_dockerfile():
            lists[name].add(entry)
    known = variables(lock, plan.variant) | {
        **{name: sorted(entries) for name, entries in lists.items()},
        "pip": next(name for name in sorted(lists["wheels"]) if name.startswith("pip-")),
        "config": plan.config,
    }
    return render(template, known, file="images/Dockerfile.j2")
