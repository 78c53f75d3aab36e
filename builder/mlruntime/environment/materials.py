"""Everything that an environment is made of, ready to be put: trees of the store, files, links."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from mlruntime.ecosystems.place import LIBRARIES
from mlruntime.environment.contents import EnvironmentContents, is_used
from mlruntime.environment.entries import InstalledEntry
from mlruntime.environment.glibc import newest
from mlruntime.environment.layout import relative
from mlruntime.environment.system import java_trust, library_folders
from mlruntime.environment.trees import Tree
from mlruntime.errors import InvalidLock
from mlruntime.image.sources.literal import File


@dataclass(frozen=True, kw_only=True, slots=True)
class Linked:
    """A file or link of a tree: where it is in the store, and what it is in the environment."""

    source: str
    entry: InstalledEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class Materials:
    """An environment before it is on disk, each path once."""

    linked: tuple[Linked, ...]
    files: tuple[File, ...]
    links: tuple[tuple[str, str], ...]
    libraries: tuple[str, ...]
    glibc: str


def materials(contents: EnvironmentContents, packages: list[Tree], system: list[Tree]) -> Materials:
    """Return the materials of an environment.

    Raises ``InvalidLock`` if two packages bring the same file with different content.
    """
    found: dict[str, Linked] = {}
    owners: dict[str, str] = {}
    for tree in (*packages, *system):
        for one in _used(tree, is_system=tree in system):
            path = one.entry.path
            before = found.setdefault(path, one)
            if before is not one and before.entry != one.entry:
                raise InvalidLock(
                    f"{tree.artifact.filename} cannot be installed",
                    why=f"{path} is also in {owners[path]}, with different content",
                    hint="lock another version",
                )
            owners.setdefault(path, tree.artifact.filename)
    links = (*contents.links, *_found_by_name(contents, found))
    trees = (*packages, *system)
    return Materials(
        linked=tuple(found.values()),
        files=(*contents.files, *java_trust(system)),
        links=links,
        libraries=library_folders((*found, *(path for path, _ in links))),
        glibc=newest(tree.glibc for tree in trees),
    )


def _used(tree: Tree, *, is_system: bool) -> Iterator[Linked]:
    for entry in tree.entries:
        if is_system and not is_used(entry.path):
            continue
        source = f"{tree.root}/{entry.path}"
        if entry.target:
            target = relative(entry.path, entry.target)
            yield Linked(source=source, entry=InstalledEntry(path=entry.path, target=target))
        else:
            yield Linked(source=source, entry=entry)


def _found_by_name(
    contents: EnvironmentContents, found: dict[str, Linked]
) -> Iterator[tuple[str, str]]:
    """Yield links to libraries that are asked for by name: CUDA's, which wheels bring."""
    site = f"lib/python{contents.python}/site-packages"
    if not contents.linked:
        return
    for path in sorted(path for path in found if ".so" in path):
        name = PurePosixPath(path)
        if not (name.name.startswith("lib") and ".so" in name.suffixes):
            continue
        if any(name.parent.match(f"{site}/{pattern}") for pattern in contents.linked):
            link = f"{LIBRARIES}/{name.name}"
            yield link, relative(link, f"/{path}")
