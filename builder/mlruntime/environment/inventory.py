"""What an environment or an image has, as a file that is carried to another host and compared."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from packaging.utils import canonicalize_name, canonicalize_version

from mlruntime.documents.reading import Location
from mlruntime.documents.schema import Form, Text, checked
from mlruntime.ecosystems.debian import ORIGIN as DEBIAN
from mlruntime.environment.contents import is_of_system
from mlruntime.environment.description import read_description, read_files, read_lock_of
from mlruntime.environment.verification import differences
from mlruntime.image.difference import Changes, changes, components_of, package_changes, packages_of
from mlruntime.lock.model import Lock

FORMAT: Final = 1
_KEY: Final = "inventory"
# A distribution's metadata, by its file in site-packages (PEP 376, PEP 427).
_METADATA: Final = re.compile(r"(?P<name>[^/]+)-(?P<version>[^/-]+)\.dist-info/METADATA")
# What identifies a package that did not come from the lock.
_NOT_LOCKED: Final = "not locked"


class InventoryPackageForm(Form, frozen=True):
    """A package: its version, and what identifies its bytes."""

    version: str
    bytes: str


class Inventory(Form, frozen=True):
    """What one environment, or one image, has.

    ``host`` are properties of what it runs on, by name; an image has fewer. ``packages`` are, by
    ecosystem and name, a version and what identifies the bytes; ``system`` says that Debian's are
    those of a whole operating system. ``damaged`` counts files that are not as locked.
    """

    inventory: int
    runtime: Text
    variant: Text
    flavour: Text
    lock: Text
    host: dict[str, str]
    components: dict[str, str]
    packages: dict[str, dict[str, InventoryPackageForm]]
    system: bool
    damaged: int

    def to_json(self) -> str:
        """Return the file's text; equal inventories give equal bytes."""
        return (
            msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=1).decode() + "\n"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class InventoryComparison:
    """All that differs between two inventories."""

    host: Changes
    components: Changes
    packages: Mapping[str, Changes]


def read_inventory(top: Location) -> Inventory | None:
    """Return the inventory that a JSON document is, ``None`` if it does not say that it is one.

    Anything but exactly its form raises ``InvalidDefinition``.
    """
    if not isinstance(top.value, dict) or _KEY not in top.value:
        return None
    if (found := top.get(_KEY).integer()) != FORMAT:
        raise top.get(_KEY).fail(
            f"the inventory has format {found}; this mlruntime knows {FORMAT}",
            hint="write it with the mlruntime that reads it",
        )
    return checked(Inventory, top)


def of_lock(lock: Lock, variant: str) -> Inventory:
    """Return what the image of a lock's variant has."""
    components = {name: version for name, (version, _) in components_of(lock, variant).items()}
    host = {"python": _python(lock, variant), "glibc": _debian(lock, "libc6")}
    packages = packages_of(lock, variant)
    return Inventory(
        inventory=FORMAT,
        runtime=lock.runtime,
        variant=variant,
        flavour=lock.flavour,
        lock=lock.digest,
        host={name: value for name, value in host.items() if value},
        components=components,
        packages={
            group: {n: InventoryPackageForm(version=v, bytes=of) for n, (v, of) in found.items()}
            for group, found in packages.items()
        },
        system=True,
        damaged=0,
    )


def _python(lock: Lock, variant: str) -> str:
    """Return the full version of an image's Python, ``""`` if the lock does not tell."""
    own = [p.artifact.version for p in lock.whole(variant).conda if p.name == "python"]
    if own:
        return own[0]
    minor = ".".join(lock.component("python").split(".")[:2])
    return _debian(lock, f"python{minor}-minimal")


def _debian(lock: Lock, name: str) -> str:
    """Return the upstream version of a Debian package, ``""`` if there is none."""
    found = next((a.version for a in lock.os if a.name == name), "")
    return found.rpartition("-")[0].rpartition(":")[2]


def of_environment(root: Path, host: Mapping[str, str]) -> Inventory:
    """Return what an environment has now: packages that somebody added or removed, too.

    ``host`` are properties of this host. A file counts as it was if it has its size and date.
    """
    found = read_description(root)
    made = read_files(root)
    locked = of_lock(read_lock_of(root), found.variant)
    site = f"lib/python{found.minor}/site-packages"
    ours = distributions(e.path.removeprefix(f"{site}/") for e in made)
    there = distributions(f"{folder.name}/METADATA" for folder in (root / site).glob("*.dist-info"))
    packages = {group: dict(value) for group, value in locked.packages.items()}
    packages[DEBIAN] = {n: v for n, v in packages[DEBIAN].items() if is_of_system(n)}
    for group in ("python", "native"):
        packages[group] = _as_installed(packages[group], there)
    known = packages["python"].keys() | packages["native"].keys()
    for name in sorted(there.keys() - known):
        if ours.get(name) != there[name]:  # those of ours that no lock has: sparkdl
            packages["python"][name] = InventoryPackageForm(version=there[name], bytes=_NOT_LOCKED)
    return msgspec.structs.replace(
        locked,
        host={"python": found.python, **host},
        packages=packages,
        system=False,
        damaged=len(differences(root, made, quick=True).damaged),
    )


def _as_installed(
    locked: Mapping[str, InventoryPackageForm], there: Mapping[str, str]
) -> dict[str, InventoryPackageForm]:
    """Return locked packages as they are: another version if it was replaced, none if removed."""
    found = {}
    for name, package in locked.items():
        if name not in there:
            continue
        same = canonicalize_version(there[name]) == canonicalize_version(package.version)
        found[name] = (
            package if same else InventoryPackageForm(version=there[name], bytes=_NOT_LOCKED)
        )
    return found


def distributions(paths: Iterable[str]) -> dict[str, str]:
    """Return versions by PEP 503 names of those Python packages whose metadata is among paths."""
    found = (match for path in paths if (match := _METADATA.fullmatch(path)))
    return {canonicalize_name(match["name"]): match["version"] for match in found}


def compared(a: Inventory, b: Inventory) -> InventoryComparison:
    """Compare two inventories.

    Of Debian's packages only those that environments have are compared, unless both sides have an
    operating system; properties only where both sides tell them.
    """
    whole = a.system and b.system
    shared = a.host.keys() & b.host.keys()
    return InventoryComparison(
        host=changes(_host_values(a, shared), _host_values(b, shared)),
        components=changes(_same(a.components), _same(b.components)),
        packages=package_changes(_packages(a, whole=whole), _packages(b, whole=whole)),
    )


def _host_values(one: Inventory, shared: Collection[str]) -> dict[str, tuple[str, str]]:
    found = {name: one.host[name] for name in shared}
    return _same(found | {"files not as locked": str(one.damaged)})


def _same(versions: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (version, version) for name, version in versions.items()}


def _packages(one: Inventory, *, whole: bool) -> dict[str, dict[str, tuple[str, str]]]:
    return {
        group: {
            name: (package.version, package.bytes)
            for name, package in found.items()
            if whole or group != DEBIAN or is_of_system(name)
        }
        for group, found in one.packages.items()
    }
