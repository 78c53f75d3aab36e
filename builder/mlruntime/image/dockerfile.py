"""The same image as a Dockerfile, rendered from the plan. Core: values in, text out."""

from collections.abc import Sequence

from mlruntime.image.plan import Plan
from mlruntime.image.sources.python import PythonPackages
from mlruntime.image.templates import render, variables
from mlruntime.lock.model import Lock


def dockerfile(plan: Plan, lock: Lock, template: str, native_wheels: Sequence[str]) -> str:
    """Return a Dockerfile for the image that ``plan`` describes.

    ``native_wheels`` are the file names of the natively built wheels, which only the store knows.
    """
    python = [p for layer in plan.layers if isinstance(p := layer.content, PythonPackages)]
    wheels = sorted(wheel.filename for packages in python for wheel in packages.wheels)
    known = variables(lock, plan.variant) | {
        "packages": sorted(f"{a.name}={a.version}" for a in lock.whole_os),
        "wheels": sorted((*wheels, *native_wheels)),
        "pip": next(name for name in wheels if name.startswith("pip-")),
        "linked": sorted({packages.linked for packages in python if packages.linked}),
        "config": plan.config,
    }
    return render(template, known, file="images/Dockerfile.j2")
