"""A requirements file on top of a runtime's lock, kept as a lock of its own beside that file."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mlruntime.definitions.files import Definitions, read_text
from mlruntime.ecosystems.native.inputs import load_recipes
from mlruntime.ecosystems.pypi.requirements import Line, parse_requirements
from mlruntime.errors import InvalidDefinition, InvalidLock, UsageError
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
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


def with_requirements(definitions: Definitions, lock: Lock, file: Path, host: Host | None) -> Lock:
    """Return a runtime's lock with the packages of a requirements file on top.

    It is read from ``FILE.RUNTIME.lock.json`` beside the file while both fit together; else it is
    made by asking the registries, and written there. Without a ``host`` nobody is asked: then
    ``InvalidLock`` says that it has to be made.
    """
    lines = parse_requirements(read_text(file, str(file), InvalidDefinition), file=str(file))
    everything = read_lock(definitions, lock.runtime)
    name = addition_name(lock, _stem(file), everything.flavour_names)
    refuse_other_versions(lock, lines)
    beside = file.with_name(f"{file.stem}.{lock.runtime}.lock.json")
    kept = _kept(beside)
    if kept is not None and _fits(kept, lock, name, lines):
        refuse_other_files(kept, lines)
        return kept
    if host is None:
        why = "it has never been made" if kept is None else "it is for another lock or other lines"
        raise InvalidLock(
            f"{file} is not locked for {lock.runtime}",
            where=str(beside),
            why=why,
            hint=f"`mlruntime build {lock.runtime} --with {file}` locks it",
        )
    made = _lock(definitions, lock, name, lines, host)
    write_whole(beside, made.to_json(), instead="put the requirements file into a folder of yours")
    host.say(f"locked {file} in {beside}")
    return made


def with_more(
    definitions: Definitions, lock: Lock, own: Lock, packages: Sequence[str], host: Host
) -> Lock:
    """Return a runtime's lock with what ``own`` adds to it already, and these requirements too.

    A requirement takes the place of one of the same name.
    """
    new = parse_requirements("\n".join(packages), file="PACKAGE")
    added = own.flavours[-1] if own != own.of_runtime else None
    old = parse_requirements("\n".join(added.requirements), file=added.name) if added else ()
    names = {line.name for line in new}
    lines = (*(line for line in old if line.name not in names), *new)
    refuse_other_versions(lock, lines)
    taken = read_lock(definitions, lock.runtime).flavour_names
    name = added.name if added else addition_name(lock, _ADDED, taken)
    return _lock(definitions, lock, name, lines, host)


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


def _fits(kept: Lock, lock: Lock, name: str, lines: tuple[Line, ...]) -> bool:
    """Tell whether a kept lock is this runtime's with just these lines on top."""
    if kept.flavour != name or kept.of_runtime.digest != lock.digest:
        return False
    return kept.flavours[-1].requirements == tuple(line.text for line in lines)


def _lock(
    definitions: Definitions, lock: Lock, name: str, lines: tuple[Line, ...], host: Host
) -> Lock:
    with host.store.shared(), host.registries() as registries:
        return with_additions(
            lock,
            lock_request(definitions, lock.runtime),
            name,
            lines,
            recipes=load_recipes(definitions.images_folder()),
            registries=registries,
            say=host.say,
        )
