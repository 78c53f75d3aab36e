"""Where packages are installed: an environment's prefix, interpreter and site-packages."""

import posixpath
from dataclasses import dataclass
from typing import Final

from mlruntime.layers.sink import Owner
from mlruntime.layers.writer import USER
from mlruntime.lock.model import CONDA_PREFIX

# The dynamic linker of Debian's amd64 looks here without being told to (ld.so(8), multiarch).
LIBRARIES: Final = "usr/lib/x86_64-linux-gnu"
PREFIX: Final = "opt/ml"
# The first lines of a script that is started by the Python in its own directory, wherever that is:
# the shell runs the second line, and Python reads it as a string.
BESIDE: Final = b"""#!/bin/sh
'''exec' "$(dirname "$(readlink -f "$0")")/python" "$0" "$@"
' '''
"""
# The interpreter that scripts are made with before they get these lines.
PLACEHOLDER_INTERPRETER: Final = "/mlr/python"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """An environment that packages are put into, as paths below a sink's root.

    ``prefix`` is its directory (``""``: the root itself), ``interpreter`` what scripts start with
    (an absolute path as their readers will see it; ``""``: the ``python`` beside them), ``python``
    that interpreter's minor version ("3.11"), ``owner`` whose it is, ``None`` being whoever
    installs; ``jars`` is where jars go, and ``conda`` the prefix of conda packages, below the
    sink's root, which their files will see as ``root``, an absolute path.
    """

    prefix: str
    interpreter: str
    python: str
    owner: Owner | None = None
    jars: str = "jars"
    conda: str = CONDA_PREFIX
    root: str = "/"

    @property
    def site_packages(self) -> str:
        """Return the directory that Python modules go to."""
        return self.within(f"lib/python{self.python}/site-packages")

    @property
    def conda_prefix(self) -> str:
        """Return the prefix of conda packages as their files see it, an absolute path."""
        return posixpath.join(self.root, self.conda)

    def within(self, path: str) -> str:
        """Return a path of the environment as a path below the sink's root."""
        return f"{self.prefix}/{path}".strip("/")


def image_place(python: str) -> Place:
    """Return the virtual environment that every image has, for a Python minor ("3.11")."""
    return Place(
        prefix=PREFIX,
        interpreter=f"/{PREFIX}/bin/python",
        python=python,
        owner=USER,
        jars=f"{PREFIX}/lib/python{python}/site-packages/pyspark/jars",
    )
