"""Rendering of the Jinja2 templates that go into an image. Core: text in, text out."""

from typing import Any

import jinja2

from mlruntime.ecosystems.place import image_place
from mlruntime.errors import InvalidDefinition, InvalidLock
from mlruntime.lock.model import CONDA_PREFIX, Lock

_ENVIRONMENT = jinja2.Environment(
    undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
)


def variables(lock: Lock, variant: str) -> dict[str, Any]:
    """Return what a template may use.

    ``runtime``, ``variant``, ``flavour`` and all ``flavours`` up to it, ``site_packages``, the
    directories of the ``interpreter`` and of Java (``java_home``), which are conda's or Debian's,
    and for each component (dashes become underscores) its ``full``, ``minor`` (3.11) and ``major``
    (3) version. ``locked`` are the Python packages of the image, sorted: (name, version).
    """
    known: dict[str, Any] = {
        "runtime": lock.runtime,
        "variant": variant,
        "flavour": lock.flavour,
        "flavours": lock.flavour_names,
    }
    for name, version in lock.components_of(variant):
        parts = version.split(".")
        known[name.replace("-", "_")] = {
            "full": version,
            "minor": ".".join(parts[:2]),
            "major": parts[0],
        }
    if "python" not in known:
        raise InvalidLock(f"the lock of {lock.runtime} has no component python")
    known["interpreter"] = lock.interpreter
    known["java_home"] = _java_home(lock, known)
    known["site_packages"] = image_place(known["python"]["minor"]).site_packages
    known["locked"] = list(lock.whole(variant).distributions.items())
    return known


def _java_home(lock: Lock, known: dict[str, Any]) -> str:
    packages = (*lock.conda, *(p for variant in lock.variants for p in variant.conda))
    if any(package.name == "openjdk" for package in packages):
        return f"/{CONDA_PREFIX}/lib/jvm"
    major = known.get("java", {}).get("major", "")
    return f"/usr/lib/jvm/java-{major}-openjdk-amd64"


def render(text: str, known: dict[str, Any], *, file: str) -> str:
    """Render a template; an unknown variable or bad syntax raises ``InvalidDefinition``."""
    try:
        return _ENVIRONMENT.from_string(text).render(known)
    except jinja2.TemplateSyntaxError as error:
        raise InvalidDefinition(str(error.message), where=f"{file}:{error.lineno}") from None
    except jinja2.UndefinedError as error:
        raise InvalidDefinition(
            str(error), where=file, hint=f"known: {', '.join(sorted(known))}"
        ) from None
