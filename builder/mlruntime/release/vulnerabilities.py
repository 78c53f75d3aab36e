"""Known vulnerabilities of an image's packages, from a database of advisories (OSV). Core: no I/O.

What no database was given for is ``not-run``, never "none".
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from mlruntime.ecosystems.model import Ecosystem
from mlruntime.ecosystems.registered import ECOSYSTEMS, ecosystem_of
from mlruntime.errors import InvalidDefinition, ValidationFailed
from mlruntime.lock.model import Lock
from mlruntime.release.advisories import Known, key_of
from mlruntime.release.inside import NOTHING_INSIDE, Inside
from mlruntime.release.policy import Policy
from mlruntime.release.severity import LEVELS, level_of
from mlruntime.release.statements import in_image

NOT_RUN: Final = "not-run"
# Events of OSV's ranges, in the order in which those of the same version happen.
_EVENTS: Final = ("fixed", "introduced", "last_affected")


@dataclass(frozen=True, kw_only=True, slots=True)
class Vulnerability:
    """An advisory that a package of the image is affected by."""

    id: str
    aliases: tuple[str, ...]
    package: str
    version: str
    level: str
    summary: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LookedUp:
    """A part of an image's packages; ``status`` is ``run`` if there were advisories about them.

    ``why`` says why not.
    """

    ecosystem: str
    packages: int
    status: str
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """A package as advisories know it."""

    ecosystem: Ecosystem
    database: str
    name: str
    version: str
    shown: str

    @property
    def key(self) -> tuple[str, str]:
        return self.database, self.ecosystem.advised(self.name)


def vulnerabilities(
    lock: Lock, variant: str, known: Known, inside: Inside = NOTHING_INSIDE
) -> tuple[Vulnerability, ...]:
    """Return what an image is affected by, the gravest first.

    ``inside`` is what was read in it: Debian's advisories are about source packages, and a wheel
    may bring jars.
    """
    found = _levelled(_vulnerabilities(lock, variant, known, inside))
    return tuple(sorted(found, key=lambda v: (-LEVELS.index(v.level), v.package, v.id)))


def looked_up(
    lock: Lock, variant: str, known: Known | None, inside: Inside = NOTHING_INSIDE
) -> tuple[LookedUp, ...]:
    """Return for each ecosystem of an image whether there were advisories about it."""
    counted: Counter[tuple[str, bool]] = Counter()
    for asked in _asked(lock, variant, inside):
        named = asked.database or f"{asked.ecosystem.origin} (OSV has no advisories for it)"
        counted[named, known is not None and asked.database in known.ecosystems] += 1
    made = [
        LookedUp(ecosystem=name, packages=count, status="run")
        if run
        else LookedUp(
            ecosystem=name,
            packages=count,
            status=NOT_RUN,
            why="no advisories of it were given (--osv)",
        )
        for (name, run), count in sorted(counted.items())
    ]
    if inside.unnamed:
        made.append(
            LookedUp(
                ecosystem="files that bundle packages",
                packages=len(inside.unnamed),
                status=NOT_RUN,
                why="they do not say which: " + ", ".join(inside.unnamed[:3]),
            )
        )
    return tuple(made)


def _asked(lock: Lock, variant: str, inside: Inside) -> Iterator[_Asked]:
    versions = lock.all_components
    native = (wheel.released for wheel in lock.whole(variant).native)
    for package in (*in_image(lock, variant), *native):
        ecosystem = ecosystem_of(package)
        name, version = inside.sources.get(
            ecosystem.owner(package.name), (package.name, package.version)
        )
        yield _Asked(
            ecosystem=ecosystem,
            database=ecosystem.advisories_of(versions),
            name=name,
            version=version,
            shown=package.name,
        )
    for one in inside.bundled:
        ecosystem = ECOSYSTEMS[one.origin]
        yield _Asked(
            ecosystem=ecosystem,
            database=ecosystem.advisories_of(versions),
            name=one.name,
            version=one.version,
            shown=one.name,
        )


def _vulnerabilities(
    lock: Lock, variant: str, known: Known, inside: Inside
) -> Iterator[Vulnerability]:
    for asked in _asked(lock, variant, inside):
        for advisory in known.advisories.get(asked.key, ()):
            hits = _hits(advisory, asked)
            if hits:
                names = (*advisory.get("aliases", ()), *advisory.get("upstream", ()))
                yield Vulnerability(
                    id=str(advisory["id"]),
                    aliases=tuple(dict.fromkeys(str(name) for name in names)),
                    package=asked.shown,
                    version=asked.version,
                    level=level_of(advisory, hits),
                    summary=str(advisory.get("summary") or "")[:200],
                )


def _hits(advisory: Mapping[str, Any], asked: _Asked) -> list[Mapping[str, Any]]:
    """Return the parts of an advisory by which a package is affected."""
    try:
        return [
            part for part in advisory["affected"]
            if _affects(part, asked.key, asked.version, asked.ecosystem)
        ]  # fmt: skip
    except ValueError as problem:
        raise InvalidDefinition(
            f"the advisory {advisory['id']} has a version of {asked.name} that is none",
            why=str(problem),
            hint="leave it out of what --osv names, or mend it",
        ) from None


def _levelled(found: Iterable[Vulnerability]) -> Iterator[Vulnerability]:
    """Yield each once; one without a level has that of another about the same, if there is one.

    Databases copy from each other: PYSEC's often have no severity, and those of GitHub do.
    """
    every = list(dict.fromkeys(found))
    for one in every:
        if one.level == "unknown":
            ids = {one.id, *one.aliases}
            same = [
                v.level for v in every
                if v.package == one.package and ids & {v.id, *v.aliases}
            ]  # fmt: skip
            yield replace(one, level=max(same, key=LEVELS.index))
        else:
            yield one


def _affects(
    affected: Mapping[str, Any], key: tuple[str, str], version: str, ecosystem: Ecosystem
) -> bool:
    package = affected.get("package") or {}
    if key_of(str(package.get("ecosystem")), str(package.get("name"))) != key:
        return False
    if version in affected.get("versions", ()):
        return True
    ranges = [r for r in affected.get("ranges", ()) if r.get("type") in ("ECOSYSTEM", "SEMVER")]
    return any(_in_range(r.get("events", ()), ecosystem, version) for r in ranges)


def _in_range(events: Iterable[Mapping[str, str]], ecosystem: Ecosystem, version: str) -> bool:
    """Return whether a version is in a range of OSV's: introduced, fixed, last_affected.

    Databases list events in any order, and OSV's own algorithm sorts them.
    """
    order = ecosystem.version_order
    at = order(version)
    bounds = [(kind, bound) for event in events for kind, bound in event.items() if kind in _EVENTS]
    inside = ("introduced", "0") in bounds
    later = [(order(bound), kind) for kind, bound in bounds if (kind, bound) != ("introduced", "0")]
    later.sort(key=lambda event: (event[0], _EVENTS.index(event[1])))
    for bound, kind in later:
        if kind == "introduced":
            inside = inside or at >= bound
        elif kind == "fixed":
            inside = inside and at < bound
        else:
            inside = inside and at <= bound
    return inside


def to_json(
    found: Iterable[Vulnerability], known: Known | None, looked: Iterable[LookedUp] = ()
) -> str:
    """Return the document: what was found, and what nobody has looked for.

    ``status`` is ``run`` only when there were advisories about every package.
    """
    parts = [
        {"ecosystem": one.ecosystem, "packages": one.packages, "status": one.status}
        | ({"why": one.why} if one.why else {})
        for one in looked
    ]
    statuses = {part["status"] for part in parts}
    if known is None or statuses == {NOT_RUN}:
        why = "no database was given (--osv)" if known is None else "of no ecosystem in the image"
        value: dict[str, Any] = {"status": NOT_RUN, "why": why, "ecosystems": parts}
    else:
        listed = [
            {
                "id": v.id,
                "aliases": list(v.aliases),
                "package": v.package,
                "version": v.version,
                "level": v.level,
                "summary": v.summary,
            }
            for v in found
        ]
        value = {
            "status": "partly-run" if NOT_RUN in statuses else "run",
            "ecosystems": parts,
            "advisories": known.count,
            "vulnerabilities": listed,
        }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def must_be_safe(
    found: Iterable[Vulnerability], policy: Policy, *, worst: str, today: date, where: str
) -> None:
    """Raise ``ValidationFailed`` for a vulnerability of this level or above that is not accepted.

    One whose level nobody says counts as grave.
    """
    least = LEVELS.index(worst)
    grave = [v for v in found if v.level == "unknown" or LEVELS.index(v.level) >= least]
    refused = [v for v in grave if not policy.accepts((v.id, *v.aliases), v.package, today)]
    if refused:
        listed = "; ".join(f"{v.id} ({v.level}) in {v.package} {v.version}" for v in refused[:8])
        raise ValidationFailed(
            f"{len(refused)} known vulnerabilities of level {worst} or above",
            where=where,
            why=listed,
            hint="take newer versions, or accept each in release.yaml with a reason and a last day",
        )
