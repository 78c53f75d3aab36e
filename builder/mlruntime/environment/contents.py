"""What an environment is made of: the part of a plan that is not its operating system. Core."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from mlruntime.ecosystems.place import LIBRARIES
from mlruntime.environment.layout import Kept, located, relative
from mlruntime.environment.personal import started_beside
from mlruntime.image.plan import Plan
from mlruntime.image.sources.conda import CondaPackages
from mlruntime.image.sources.jars import Jars
from mlruntime.image.sources.literal import File, LiteralFiles
from mlruntime.image.sources.python import PythonPackages
from mlruntime.lock.model import CONDA_PREFIX, Lock
from mlruntime.lock.packages import Artifact, NativeWheel

# Of the image's system: Java, a BLAS for Spark with the libraries that it is linked with, and the
# certificates that Java trusts. Everything else comes from the host.
_SYSTEM: Final = ("openjdk-*", "libopenblas0-*", "libgfortran5", "libquadmath0", "ca-certificates")
# What of these packages is used. dpkg's notes, and what Debian's own tools read, is not.
_USED: Final = ("usr/lib/jvm/", "etc/java-*/", f"{LIBRARIES}/", "usr/share/doc/")


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentContents:
    """The packages, files and links of an environment.

    ``native`` are compiled wheels, ``packages`` those of ecosystems that a lock has no other word
    for, ``links`` symbolic links (path, target), ``linked`` patterns of directories below
    site-packages whose libraries are found by their names.
    """

    python: str
    conda: tuple[Artifact, ...]
    wheels: tuple[Artifact, ...]
    native: tuple[NativeWheel, ...]
    jars: tuple[Artifact, ...]
    system: tuple[Artifact, ...]
    packages: tuple[Artifact, ...]
    files: tuple[File, ...]
    links: tuple[tuple[str, str], ...]
    linked: tuple[str, ...]

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Return everything that is fetched."""
        return (*self.conda, *self.wheels, *self.jars, *self.packages, *self.system)


def contents(plan: Plan, lock: Lock) -> EnvironmentContents:
    """Return what an environment has of a plan's image."""
    layers = [layer.content for layer in plan.layers]
    kept = Kept.of(plan.config.environment)
    python = [c for c in layers if isinstance(c, PythonPackages)]
    literal = [c for c in layers if isinstance(c, LiteralFiles)]
    known = (*(f for c in python for f in c.files), *(f for c in literal for f in c.files))
    # What a flavour's layer replaces in a layer below is there once.
    own = {file.path: file for file in known if file.path in kept}.values()
    links = [link for c in literal for link in c.links if link[0] in kept]
    return EnvironmentContents(
        python=plan.python,
        conda=tuple(a for c in layers if isinstance(c, CondaPackages) for a in c.artifacts),
        wheels=tuple(wheel for c in python for wheel in c.wheels),
        native=tuple(wheel for c in python for wheel in c.native),
        jars=tuple(jar for c in layers if isinstance(c, Jars) for jar in c.artifacts),
        system=tuple(a for a in lock.os if is_of_system(a.name)),
        packages=lock.packages,
        files=tuple(
            File(path=located(f.path), content=started_beside(f.content), executable=f.executable)
            for f in own
        ),
        links=tuple((located(p), relative(located(p), t)) for p, t in links if not _leads_out(t)),
        linked=tuple(sorted({c.linked for c in python if c.linked})),
    )


def _leads_out(target: str) -> bool:
    """Return whether a link is to the image's interpreter: an environment has its own to that."""
    return target.startswith(("/usr/bin/", f"/{CONDA_PREFIX}/bin/python"))


def is_of_system(name: str) -> bool:
    """Return whether an environment has this Debian package of its image."""
    return any(fnmatchcase(name, pattern) for pattern in _SYSTEM)


def is_used(path: str) -> bool:
    """Return whether a file of a Debian package belongs into an environment."""
    return any(fnmatchcase(path, f"{pattern}*") for pattern in _USED)
