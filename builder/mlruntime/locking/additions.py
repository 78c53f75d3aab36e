"""What somebody adds to a locked runtime: one more flavour, of a requirements file and a jar list.

The runtime's pins never move. What cannot go with them is refused, before a registry is asked where
the lock can tell.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import product

from mlruntime.ecosystems.maven.conflict import JarConflict
from mlruntime.ecosystems.maven.lines import JarLine
from mlruntime.ecosystems.native.inputs import LoadedRecipe
from mlruntime.ecosystems.pypi.requirements import RequirementLine
from mlruntime.errors import (
    ArtifactNotFound,
    HashMismatch,
    InvalidDefinition,
    MlruntimeError,
    NoCompatibleVersions,
    UsageError,
)
from mlruntime.lock.model import CORE, Lock, flavour_below
from mlruntime.lock.packages import Artifact
from mlruntime.locking.added_jars import new_jars
from mlruntime.locking.assembly import Registries
from mlruntime.locking.flavours import with_flavours
from mlruntime.locking.jars import shipped_with
from mlruntime.locking.request import FlavourRequest, LockRequest


def addition_name(lock: Lock, stem: str, taken: Iterable[str]) -> str:
    """Return the name of the flavour that adds the file ``stem`` to a lock: a part of a tag.

    ``taken`` are all flavours of the runtime, those above ``lock`` too. The name says which of them
    it is on top of (``flavour_below``), so it may not read like one on another.
    """
    name = stem if lock.flavour == CORE else f"{lock.flavour}-{stem}"
    names = tuple(taken)
    if name in names or flavour_below(name, names) != lock.flavour:
        raise UsageError(
            f"an image called {name!r} would read like one of another flavour of {lock.runtime}",
            hint="give the file another name",
        )
    return name


def refuse_other_versions(lock: Lock, lines: Iterable[RequirementLine]) -> None:
    """Raise ``InvalidDefinition`` for a line that excludes the version that the runtime has."""
    held = [lock.whole(variant.name).distributions for variant in lock.variants]
    for line, has in product(lines, held):
        version = has.get(line.name)
        if version and not line.requirement.specifier.contains(version, prereleases=True):
            raise InvalidDefinition(
                f"{line.requirement} is not the {line.name} of {lock.runtime}",
                where=line.where,
                why=f"the runtime has {line.name} {version}, and what is added never moves it",
                hint="leave the line out, allow this version, or build on another runtime",
            )


def with_additions(
    lock: Lock,
    request: LockRequest,
    name: str,
    lines: tuple[RequirementLine, ...],
    jars: tuple[JarLine, ...] = (),
    *,
    recipes: Mapping[str, LoadedRecipe],
    registries: Registries,
    say: Callable[[str], None] = lambda _: None,
) -> Lock:
    """Return ``lock`` and one flavour more, ``name``, with what ``lines`` and ``jars`` ask for.

    ``request`` is what the runtime's own lock was made of. Raises ``NoCompatibleVersions`` if it
    cannot go with what is locked, ``HashMismatch`` for a file that is not one of a line's.
    """
    python = tuple(str(line.requirement) for line in lines)
    new = new_jars(jars, shipped_with(lock, registries.shipped), lock.runtime) if jars else ()
    own = FlavourRequest(
        name=name,
        versions=(),
        wanted=(),
        python=python,
        requirements=tuple(line.text for line in lines),
        jars=tuple(line.text for line in new),
        jar_requirements=tuple(line.text for line in jars),
    )
    kept = tuple(f for f in request.flavours if f.name in lock.flavour_names)
    try:
        made = with_flavours(
            lock,
            replace(request, flavours=(*kept, own)),
            recipes=recipes,
            registries=registries,
            say=say,
        )
    except (ArtifactNotFound, JarConflict) as error:
        error.where = error.where or _line_of(error, jars)
        raise
    except NoCompatibleVersions as error:
        raise NoCompatibleVersions(
            f"what is added cannot go with the packages of {lock.runtime}",
            where=lines[0].where.rpartition(":")[0] if lines else None,
            why=error.why,
            hint="allow other versions of what you add; those of the runtime are fixed",
        ) from None
    refuse_other_files(made, lines)
    return made


def _line_of(error: MlruntimeError, jars: Iterable[JarLine]) -> str | None:
    """Return where the jar that an error is about was asked for."""
    return next((line.where for line in jars if str(line.jar.project) in error.what), None)


def refuse_other_files(lock: Lock, lines: Iterable[RequirementLine]) -> None:
    """Raise ``HashMismatch`` unless each package with hashes is a file of one of them."""
    files: dict[str, Artifact] = {
        artifact.name: artifact
        for variant in lock.variants
        for artifact in lock.whole(variant.name).python
    }
    for line in lines:
        found = files.get(line.name)
        if line.hashes and found is not None and found.sha256 not in line.hashes:
            raise HashMismatch(
                f"{found.filename} is none of the files that are asked for",
                where=line.where,
                why=f"its sha256 is {found.sha256}",
                hint="see who changed the file or the line: an index should never replace a file",
            )
