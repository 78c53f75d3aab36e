"""Jars in a directory: which are not those of a list, and which have classes of each other."""

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

# Every jar of Spark has one, which is empty: its build needs a class in each.
_EMPTY = "org/apache/spark/unused/UnusedStubClass.class"


def differing(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Return those of the wanted jars (name to sha256) that are not there as they should be."""
    found = []
    for name, sha256 in sorted(wanted.items()):
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is not there")
            continue
        with path.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != sha256:
                found.append(f"{name} is another file")
    return found


def classes(jar: Path) -> frozenset[str]:
    """Return the classes of a jar that a program can ask for by their names."""
    with zipfile.ZipFile(jar) as archive:
        names = archive.namelist()
    return frozenset(
        name
        for name in names
        if name.endswith(".class")
        and not name.startswith("META-INF/")
        and name not in (_EMPTY, "module-info.class")
    )


def repeated(folder: Path, wanted: Iterable[str]) -> list[str]:
    """Return what the wanted jars have that another jar beside them has too.

    Which of two classes is taken depends on the order of a directory.
    """
    ours = set(wanted)
    every = {jar.name: classes(jar) for jar in sorted(folder.glob("*.jar"))}
    found = []
    for name in sorted(ours & every.keys()):
        for other, theirs in every.items():
            both = every[name] & theirs
            if both and (other not in ours or name < other):
                more = f" and {len(both) - 1} more" if len(both) > 1 else ""
                found.append(f"{name} and {other} both have {min(both)}{more}")
    return found
