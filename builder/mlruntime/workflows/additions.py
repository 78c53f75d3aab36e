"""A requirements file and a list of jars on top of a runtime's lock, locked beside those files."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlruntime.definitions.files import Definitions, read_text
from mlruntime.ecosystems.maven.lines import JarLine, parse_jars
from mlruntime.ecosystems.native.inputs import load_recipes
from mlruntime.ecosystems.pypi.requirements import RequirementLine, parse_requirements
from mlruntime.errors import InvalidDefinition, InvalidLock, UsageError
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Flavour, Lock
from mlruntime.locking.added_jars import refuse_other_jars
from mlruntime.locking.additions import (
    addition_name,
    refuse_other_files,
    refuse_other_versions,
    with_additions,
)
from mlruntime.store.store import write_whole
from mlruntime.workflows.host import Host
from mlruntime.workflows.locked import lock_request, read_lock

# What packages without a file are called.
_ADDED: Final = "added"
# A part of an image's tag; OCI allows more, but a tag with a dot or a capital reads badly.
_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class AdditionFiles:
    """A requirements file (``--with``) and a list of jars (``--with-jars``), at least one."""

    requirements: Path | None = None
    jars: Path | None = None

    @property
    def given(self) -> tuple[Path, ...]:
        """Return the files that there are."""
        return tuple(file for file in (self.requirements, self.jars) if file is not None)

    @property
    def stem(self) -> str:
        """Return what they are called together: ``team-a.txt`` and ``team-a.jars`` are one name."""
        return "-".join(dict.fromkeys(_stem(file) for file in self.given))

    @property
    def shown(self) -> str:
        """Return the files as a message names them."""
        return " and ".join(map(str, self.given))

    @property
    def options(self) -> str:
        """Return the options of the command line that name them."""
        options = (("--with", self.requirements), ("--with-jars", self.jars))
        return " ".join(f"{option} {file}" for option, file in options if file is not None)


def with_files(
    definitions: Definitions, lock: Lock, files: AdditionFiles, host: Host | None
) -> Lock:
    """Return a runtime's lock with the packages and jars of files on top.

    It is read from ``FILE.RUNTIME.lock.json`` beside the (first) file while they fit together; else
    it is made by asking the registries, and written there. Without a ``host`` nobody is asked: then
    ``InvalidLock`` says that it has to be made.
    """
    lines, jars = _lines(files.requirements), _jar_lines(files.jars)
    everything = read_lock(definitions, lock.runtime)
    name = addition_name(lock, files.stem, everything.flavour_names)
    refuse_other_versions(lock, lines)
    refuse_other_jars(lock, jars)
    beside = files.given[0].with_name(f"{files.stem}.{lock.runtime}.lock.json")
    kept = _kept(beside)
    if kept is not None and _fits(kept, lock, name, lines, jars):
        refuse_other_files(kept, lines)
        return kept
    if host is None:
        why = "it has never been made" if kept is None else "it is for another lock or other lines"
        are = "is" if len(files.given) == 1 else "are"
        raise InvalidLock(
            f"{files.shown} {are} not locked for {lock.runtime}",
            where=str(beside),
            why=why,
            hint=f"`mlruntime build {lock.runtime} {files.options}` locks them",
        )
    made = _lock(definitions, lock, name, lines, jars, host)
    write_whole(beside, made.to_json(), instead="put the files into a folder of yours")
    host.say(f"locked {files.shown} in {beside}")
    return made


def _lines(file: Path | None) -> tuple[RequirementLine, ...]:
    if file is None:
        return ()
    return parse_requirements(read_text(file, str(file), InvalidDefinition), file=str(file))


def _jar_lines(file: Path | None) -> tuple[JarLine, ...]:
    if file is None:
        return ()
    return parse_jars(read_text(file, str(file), InvalidDefinition), file=str(file))


def with_more(
    definitions: Definitions, lock: Lock, own: Lock, packages: Sequence[str], host: Host
) -> Lock:
    """Return a runtime's lock with what ``own`` adds to it already, and these requirements too.

    A requirement takes the place of one of the same name.
    """
    new = parse_requirements("\n".join(packages), file="PACKAGE")
    added = own.flavours[-1] if own != own.of_runtime else None
    old, jars = _as_lines(added) if added else ((), ())
    names = {line.name for line in new}
    lines = (*(line for line in old if line.name not in names), *new)
    refuse_other_versions(lock, lines)
    taken = read_lock(definitions, lock.runtime).flavour_names
    name = added.name if added else addition_name(lock, _ADDED, taken)
    return _lock(definitions, lock, name, lines, jars, host)


def _as_lines(added: Flavour) -> tuple[tuple[RequirementLine, ...], tuple[JarLine, ...]]:
    """Return what a locked flavour was made of."""
    lines, jars = "\n".join(added.requirements), "\n".join(added.jar_requirements)
    return (
        parse_requirements(lines, file=added.name) if lines else (),
        parse_jars(jars, file=added.name) if jars else (),
    )


def _stem(file: Path) -> str:
    if not _NAME.fullmatch(file.stem):
        raise UsageError(
            f"{file.name} cannot name an image",
            why="its name without the ending becomes a part of the tag",
            hint="call it, for example, team-a.txt: small letters, digits and hyphens",
        )
    return file.stem


def _kept(beside: Path) -> Lock | None:
    if not beside.is_file():
        return None
    return parse_lock(read_text(beside, str(beside), InvalidLock), file=str(beside))


def _fits(
    kept: Lock, lock: Lock, name: str, lines: tuple[RequirementLine, ...], jars: tuple[JarLine, ...]
) -> bool:
    """Tell whether a kept lock is this runtime's with just these lines on top."""
    if kept.flavour != name or kept.of_runtime.digest != lock.digest:
        return False
    own = kept.flavours[-1]
    return own.requirements == tuple(line.text for line in lines) and (
        own.jar_requirements == tuple(line.text for line in jars)
    )


def _lock(
    definitions: Definitions,
    lock: Lock,
    name: str,
    lines: tuple[RequirementLine, ...],
    jars: tuple[JarLine, ...],
    host: Host,
) -> Lock:
    with host.store.shared(), host.registries() as registries:
        return with_additions(
            lock,
            lock_request(definitions, lock.runtime),
            name,
            lines,
            jars,
            recipes=load_recipes(definitions.images_folder()),
            registries=registries,
            say=host.say,
        )
