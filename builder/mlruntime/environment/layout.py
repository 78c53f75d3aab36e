"""Where the files of an image are in an environment. Core: paths in, paths out.

An environment's directory is the image's virtual environment, and what else of the image's root
is needed is below it: ``/opt/ml/bin`` is ``bin``, ``/usr/lib/jvm`` is ``usr/lib/jvm``.
"""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mlruntime.ecosystems.place import PREFIX, Place

# What an environment tells of itself: which it is, its lock, and every file it was made with.
NOTES: Final = ".mlruntime"
# Made for one place and one interpreter, by `personal`, and of no image.
_OWN: Final = frozenset(("pyvenv.cfg", "pip.conf", "bin/activate"))
# Where users of the image are at home; on this host they are elsewhere.
_HOME: Final = "HOME"


def located(path: str) -> str:
    """Return the path in an environment of a path in an image's root, both relative."""
    return "." if path == PREFIX else path.removeprefix(f"{PREFIX}/")


def place(python: str, root: str = "/") -> Place:
    """Return the place that packages are put into, relative to the environment's directory.

    ``root`` is that directory, an absolute path: conda packages know where they are.
    """
    site = f"lib/python{python}/site-packages"
    return Place(prefix="", interpreter="", python=python, jars=f"{site}/pyspark/jars", root=root)


def relative(link: str, target: str) -> str:
    """Return the target of a link of an image's root as that of one in an environment.

    ``link`` is the link's path in the environment; an absolute target is in the image.
    """
    if not target.startswith("/"):
        return target
    return posixpath.relpath(located(target.strip("/")), posixpath.dirname(link) or ".")


@dataclass(frozen=True, slots=True)
class Kept:
    """Which of an image's own files an environment has: those that its variables lead to."""

    folders: tuple[str, ...]

    @classmethod
    def of(cls, variables: Iterable[tuple[str, str]]) -> "Kept":
        """Return what the variables of an image's configuration lead to."""
        found = (v for n, v in variables if n != _HOME and v.startswith("/") and ":" not in v)
        return cls(tuple(value.strip("/") for value in found))

    def __contains__(self, path: str) -> bool:
        if located(path) in _OWN:
            return False
        return any(path == folder or path.startswith(f"{folder}/") for folder in self.folders)
