"""Known vulnerabilities of an image's packages, from a database of advisories (OSV). Core: no I/O.

Without a database nothing is known, and that is ``not-run``, never "none".
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from mlruntime.ecosystems.model import Ecosystem
from mlruntime.ecosystems.registered import ECOSYSTEMS, ecosystem_of
from mlruntime.errors import InvalidDefinition, ValidationFailed
from mlruntime.lock.model import Lock
from mlruntime.release.policy import Policy
from mlruntime.release.statements import in_image

LEVELS: Final = ("unknown", "low", "medium", "high", "critical")
# Lowest CVSS score of each level (CVSS 3.1, section 5).
_SCORES: Final = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Vulnerability:
    """An advisory that a package of the image is affected by."""

    id: str
    aliases: tuple[str, ...]
    package: str
    version: str
    level: str
    summary: str


@dataclass(frozen=True, slots=True)
class Known:
    """Advisories by (ecosystem, package), as an OSV database has them."""

    advisories: Mapping[tuple[str, str], tuple[Mapping[str, Any], ...]]
    count: int


def parse_advisories(texts: Iterable[tuple[str, bytes]]) -> Known:
    """Read advisories: (file, JSON). ``InvalidDefinition`` for a file that has none."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    count = 0
    for file, content in texts:
        try:
            value = json.loads(content)
            affected = [(a["package"], a) for a in value.get("affected", ())]
            str(value["id"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidDefinition(
                "this is no OSV advisory", where=file, hint="https://ossf.github.io/osv-schema/"
            ) from None
        count += 1
        if value.get("withdrawn"):
            continue
        for package, _ in affected:
            key = _key(str(package.get("ecosystem", "")), str(package.get("name", "")))
            if value not in found.setdefault(key, []):
                found[key].append(value)
    if not count:
        raise InvalidDefinition(
            "the given files contain no advisory", why="an empty database finds nothing"
        )
    return Known({key: tuple(values) for key, values in found.items()}, count)


def _key(advisories: str, name: str) -> tuple[str, str]:
    """Return what an advisory is found by; OSV has more ecosystems, whose names stay."""
    whole = advisories.partition(":")[0]
    ours = next((one for one in ECOSYSTEMS.values() if one.advisories == whole), None)
    return advisories, ours.advised(name) if ours else name


def vulnerabilities(lock: Lock, variant: str, known: Known) -> tuple[Vulnerability, ...]:
    """Return what an image is affected by, the gravest first.

    A Debian package is looked for by its own name; Debian's advisories are about source packages,
    which mostly have the same.
    """
    found = list(_vulnerabilities(lock, variant, known))
    return tuple(sorted(found, key=lambda v: (-LEVELS.index(v.level), v.package, v.id)))


def _vulnerabilities(lock: Lock, variant: str, known: Known) -> Iterator[Vulnerability]:
    versions = lock.all_components
    native = (wheel.released for wheel in lock.variant(variant).native)
    for package in (*in_image(lock, variant), *native):
        ecosystem = ecosystem_of(package)
        key = ecosystem.advisories_of(versions), ecosystem.advised(package.name)
        for advisory in known.advisories.get(key, ()):
            if any(_affects(a, key, package.version, ecosystem) for a in advisory["affected"]):
                yield Vulnerability(
                    id=str(advisory["id"]),
                    aliases=tuple(str(alias) for alias in advisory.get("aliases", ())),
                    package=package.name,
                    version=package.version,
                    level=_level(advisory),
                    summary=str(advisory.get("summary") or "")[:200],
                )


def _affects(
    affected: Mapping[str, Any], key: tuple[str, str], version: str, ecosystem: Ecosystem
) -> bool:
    package = affected["package"]
    if _key(str(package.get("ecosystem")), str(package.get("name"))) != key:
        return False
    if version in affected.get("versions", ()):
        return True
    ranges = [r for r in affected.get("ranges", ()) if r.get("type") in ("ECOSYSTEM", "SEMVER")]
    return any(_in_range(r.get("events", ()), ecosystem, version) for r in ranges)


def _in_range(events: Iterable[Mapping[str, str]], ecosystem: Ecosystem, version: str) -> bool:
    """Return whether a version is in a range of OSV's: introduced, fixed, last_affected."""
    inside = False
    order = ecosystem.version_order
    at = order(version)
    for event in events:
        for kind, bound in event.items():
            if kind == "introduced":
                inside = inside or bound == "0" or at >= order(bound)
            elif kind == "fixed":
                inside = inside and at < order(bound)
            elif kind == "last_affected":
                inside = inside and at <= order(bound)
    return inside


def _level(advisory: Mapping[str, Any]) -> str:
    said = str((advisory.get("database_specific") or {}).get("severity") or "").lower()
    named = {"moderate": "medium"}.get(said, said)
    if named in LEVELS:
        return named
    scores = [
        float(str(entry.get("score")))
        for entry in advisory.get("severity", ())
        if str(entry.get("score", "")).replace(".", "", 1).isdecimal()
    ]
    highest = max(scores, default=0.0)
    return next((level for least, level in _SCORES if highest >= least), "unknown")


def to_json(found: Iterable[Vulnerability], known: Known | None) -> str:
    """Return the document: ``not-run`` without a database, whatever else."""
    if known is None:
        value: dict[str, Any] = {"status": "not-run", "why": "no database was given (--osv)"}
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
        value = {"status": "run", "advisories": known.count, "vulnerabilities": listed}
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
