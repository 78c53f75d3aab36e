"""An environment in an image of somebody's own: the Dockerfile. Core: values in, text out."""

import json
import re
from pathlib import PurePosixPath
from typing import Final

from mlruntime.environment.description import Description
from mlruntime.errors import UsageError
from mlruntime.lock.model import Lock

# What the archive beside the Dockerfile is called, and where the image has the environment.
ARCHIVE: Final = "ml.tar.gz"
_ROOT: Final = PurePosixPath("/opt/ml")
_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}")
_TEMPLATE: Final = """\
# mlruntime {runtime} ({variant}) on a base image of your own. Build it in this directory:
#
#     docker build --build-arg BASE=IMAGE --tag NAME .
#
# The base has to be for x86_64, with glibc {glibc} or newer, libstdc++ and CPython {python};
# Spark's own scripts call `ps`. Java, Spark and all else is in {archive}. No network is used,
# and every file is compared with its sha256.
ARG BASE={base}
FROM ${{BASE}}
USER root
ADD {archive} {above}/
# The Python to use; without one, it is looked for.
ARG PYTHON=
RUN sh {root}/unpack.sh ${{PYTHON}} \\
 && {{ {root}/bin/python -m compileall -q -j 0 -x /tests/ --invalidation-mode unchecked-hash \\
      {root}/lib || true; }}
ENV {variables}
ARG RUN_AS=root
USER ${{RUN_AS}}
CMD ["python"]
"""


def usual_base(lock: Lock) -> str:
    """Return the official image that has the runtime's Python on the runtime's Debian."""
    python = ".".join(lock.component("python").split(".")[:2])
    suites = (artifact.origin.split(":")[1] for artifact in lock.os)
    suite = next((suite for suite in suites if "-" not in suite), "")
    return f"python:{python}-slim" + (f"-{suite}" if suite else "")


def refuse_base(name: str) -> None:
    """Raise ``UsageError`` for what can be no name of an image."""
    if not _IMAGE.fullmatch(name):
        raise UsageError(
            f"{name!r} names no image", hint="--base NAME, such as python:3.11-slim-bookworm"
        )


def dockerfile(made: Description, base: str) -> str:
    """Return the Dockerfile for an environment that is packed beside it, as ``ARCHIVE``."""
    settings = made.relative.at(_ROOT)
    pairs = [f"{name}={_quoted(value)}" for name, value in settings.set.items()]
    pairs += [
        f'{name}="{":".join(parts)}${{{name}:+:${name}}}"'
        for name, parts in settings.extended.items()
    ]
    return _TEMPLATE.format(
        runtime=made.runtime,
        variant=made.variant,
        glibc=made.glibc,
        python=made.minor,
        archive=ARCHIVE,
        base=base,
        above=_ROOT.parent,
        root=_ROOT,
        variables=" \\\n    ".join(pairs),
    )


def _quoted(text: str) -> str:
    return json.dumps(text).replace("$", "\\$")
