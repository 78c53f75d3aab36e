"""The variables of an environment, from those of its image. Core: values in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from mlruntime.environment.layout import located
from mlruntime.image.config import ImageConfig

_PATH: Final = "PATH"
_LIBRARY_PATH: Final = "LD_LIBRARY_PATH"
# The image has a home and a locale of its own; a host has a user with both.
_HOSTS: Final = frozenset(("HOME", "LANG"))
# They would lead past the environment's own interpreter and packages.
_IN_THE_WAY: Final = ("PYTHONHOME", "PYTHONPATH")
# A value that is a path in the environment starts with this.
_HERE: Final = "./"


@dataclass(frozen=True, kw_only=True, slots=True)
class Variables:
    """Variables to ``set``, and lists of folders that come before what a variable has.

    Paths of the environment start with ``./``, until they are put ``at`` a place.
    """

    set: Mapping[str, str]
    extended: Mapping[str, tuple[str, ...]]

    def at(self, root: PurePath) -> "Variables":
        """Return the same variables for an environment at an absolute path."""

        def absolute(text: str) -> str:
            return str(root / text.removeprefix(_HERE)) if text.startswith(_HERE) else text

        return Variables(
            set={name: absolute(value) for name, value in self.set.items()},
            extended={n: tuple(map(absolute, parts)) for n, parts in self.extended.items()},
        )

    def applied(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a process that runs in the environment, from the host's."""
        found = self.without_others(environ) | dict(self.set)
        for name, parts in self.extended.items():
            before = [environ[name]] if environ.get(name) else []
            found[name] = ":".join((*parts, *before))
        return found

    @staticmethod
    def without_others(environ: Mapping[str, str]) -> dict[str, str]:
        """Return a host's variables without those that lead to other packages."""
        return {n: v for n, v in environ.items() if n not in _IN_THE_WAY}


def variables(config: ImageConfig, libraries: tuple[str, ...]) -> Variables:
    """Return the variables of an environment: the image's, with its paths in the environment.

    Of ``PATH``, only the image's own folders come first, and Java's; those of its system are the
    host's. ``libraries`` are the environment's folders with shared libraries: a host's dynamic
    linker has to be told of them.
    """
    known = {n: v for n, v in config.environment if n not in _HOSTS}
    path = known.pop(_PATH, "").split(":")
    folders = [value for value in known.values() if value.startswith("/")]

    def here(text: str) -> str:
        return f"{_HERE}{located(text.strip('/')).removeprefix('.')}"

    def is_own(text: str) -> bool:
        return any(text == folder or text.startswith(f"{folder}/") for folder in folders)

    fixed = {name: here(value) if value in folders else value for name, value in known.items()}
    programs = [here(part) for part in path if is_own(part)]
    if "JAVA_HOME" in fixed:
        programs.append(f"{fixed['JAVA_HOME']}/bin")
    own = tuple(f"{_HERE}{folder}" for folder in libraries)
    return Variables(set=fixed, extended={_PATH: tuple(programs), _LIBRARY_PATH: own})
