"""Why uv found no solution, and what it warned of: its words checked against the indexes.

uv says "there is no version of" a package for several reasons: no index knows the name, the
index has another version, or everything was left out because of the snapshot. Which one it is
decides what the user can do, so the indexes themselves are asked.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_name

from mlruntime.ecosystems.pypi.wheelless import without_wheel
from mlruntime.errors import (
    ArtifactNotFound,
    MlruntimeError,
    NoCompatibleVersions,
    Unavailable,
)
from mlruntime.fetch.indexes import ProjectListing
from mlruntime.host.settings import without_secrets

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage

Look = Callable[[str], tuple[ProjectListing, ...]]

_UNKNOWN: Final = re.compile(r"[Bb]ecause (\S+) was not found in the package registry")
_NO_VERSION: Final = re.compile(
    r"[Bb]ecause there (?:is|are) no versions? of ([A-Za-z0-9._-]+)(?:\[[^\]]*\])?(\S*)"
)
_UNDATED: Final = re.compile(r"`?([^`\s]+)`? is missing an upload date")
_WARNING: Final = re.compile(r"^warning: (.*)$", re.MULTILINE)


def explained(said: str, wanted: frozenset[str], snapshot: str, look: Look) -> MlruntimeError:
    """Return the error that uv's last words amount to.

    ``look`` returns what the indexes list of a name. ``ArtifactNotFound`` means, and only means,
    that no index lists a name that is in ``wanted``.
    """
    if "network was disabled" in said:
        return Unavailable(
            "UV_OFFLINE (or `offline` in uv.toml) forbids access to the package index,"
            " and uv's cache lacks some packages",
            why=said,
            hint="unset it: uv has to ask the index, or to have asked it before",
        )
    if (wheelless := without_wheel(said)) is not None:
        return wheelless
    if match := _UNKNOWN.search(said) or _NO_VERSION.search(said):
        name = canonicalize_name(re.split(r"[\[=<>!~{]", match[1])[0])
        version = (match[2] if match.re is _NO_VERSION else "").rstrip(",")
        return _absent(name, version, said, wanted, snapshot, look(name))
    if match := _UNDATED.search(said):
        name = canonicalize_name(match[1].split("-")[0])
        if (undated := _undated(look(name))) is not None:
            return _no_times(name, undated, snapshot)
    if "No solution found" in said:
        return NoCompatibleVersions("the Python packages have conflicting requirements", why=said)
    return Unavailable("uv could not resolve the Python packages", why=said)


def warnings(said: str, look: Look) -> Iterator[str]:
    """Yield a sentence for each thing uv warned of that changes, or may change, what is locked."""
    undated: set[str] = set()
    for warning in _WARNING.findall(said):
        if match := _UNDATED.search(warning):
            undated.add(canonicalize_name(match[1].split("-")[0]))
        elif "is yanked" in warning or "does not have an extra" in warning:
            yield warning.replace("`", "").removeprefix("The package ").rstrip(".")
    for name in sorted(undated):
        index = _undated(look(name))
        where = f"{without_secrets(index)} gives" if index else "an index gives"
        yield f"{name}: {where} no upload time for some files, which the snapshot leaves out"


def _absent(
    name: str,
    version: str,
    said: str,
    wanted: frozenset[str],
    snapshot: str,
    listings: tuple[ProjectListing, ...],
) -> MlruntimeError:
    if not listings:
        kind = ArtifactNotFound if name in wanted else Unavailable
        return kind(
            f"the package index does not have {name}",
            why=said,
            hint="check the name and which indexes are set: `mlruntime doctor` shows them",
        )
    if (undated := _undated(listings, version)) is not None:
        return _no_times(name, undated, snapshot)
    files = [file for listing in listings for file in listing.files]
    known = [file for file in files if _is(file, version)]
    where = ", ".join(without_secrets(listing.index) for listing in listings)
    later = [f.upload_time for f in known if f.upload_time and f.upload_time > _moment(snapshot)]
    if known and len(later) == len(known):
        return Unavailable(
            f"{name}{version} was uploaded after the snapshot",
            why=f"{where}: first on {min(later):%Y-%m-%d}; the snapshot is {snapshot}",
            hint="move `snapshot` in runtime.yaml, or ask for an older release",
        )
    if not known and version:
        return Unavailable(
            f"the package index has {name}, but not {name}{version}",
            why=f"{where}: {len(files)} files, none of this release",
            hint="check the version, and which indexes are set: the first index that lists a"
            " name is the only one that uv takes it from",
        )
    return NoCompatibleVersions("the Python packages have conflicting requirements", why=said)


def _no_times(name: str, index: str, snapshot: str) -> Unavailable:
    return Unavailable(
        f"{without_secrets(index)} gives no upload times, so the snapshot can't be honoured",
        where=name,
        why=f"runtime.yaml asks for what was there at {snapshot}; uv leaves out every file whose"
        " age it does not know",
        hint="use an index that serves the JSON form of the simple API with `upload-time`"
        " (PEP 700), or give this one after an index that does",
    )


def _undated(listings: tuple[ProjectListing, ...], version: str = "") -> str | None:
    """Return the index that lists files (of a release) without saying when they came."""
    for listing in listings:
        files = [file for file in listing.files if _is(file, version)]
        if any(file.upload_time is None for file in files):
            return listing.index
    return None


def _is(file: "DistributionPackage", version: str) -> bool:
    """Return whether a file is of a release; of a range of releases every file may be."""
    if not version.startswith("==") or version.endswith("*"):
        return True
    return (file.version or "").replace("_", "-") == version.removeprefix("==")


def _moment(snapshot: str) -> datetime:
    return datetime.fromisoformat(snapshot.replace("Z", "+00:00"))
