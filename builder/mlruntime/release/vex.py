"""Which known vulnerabilities an image is released with, and why: as OpenVEX. Core: no I/O.

OpenVEX and not CycloneDX: scanners of images take it for an image, and find it beside one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from packageurl import PackageURL
from packaging.utils import canonicalize_name

from mlruntime.ecosystems.registered import ecosystem_of
from mlruntime.errors import ValidationFailed
from mlruntime.lock.model import Lock
from mlruntime.release.inside import Inside
from mlruntime.release.policy import POLICY_FILE, Accepted, Policy
from mlruntime.release.statements import in_image, statement
from mlruntime.release.vulnerabilities import Vulnerability

CONTEXT: Final = "https://openvex.dev/ns/v0.2.0"
PREDICATE: Final = "https://openvex.dev/ns"
# The specification wants a person or an organization, and we know of none but by the key.
_SOMEBODY: Final = "whoever holds the key that has signed this"


@dataclass(frozen=True, kw_only=True, slots=True)
class Excepted:
    """A vulnerability that an image is released with, and its packages as (name, purl).

    The package URLs have no qualifiers: scanners do not agree on those of Debian packages.
    """

    entry: Accepted
    packages: tuple[tuple[str, str], ...]
    aliases: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        entry = self.entry
        return {
            "id": entry.id,
            "status": entry.status,
            "justification": entry.justification,
            "why": entry.why,
            "action": entry.action,
            "until": entry.until.isoformat(),
            "packages": [name for name, _ in self.packages],
        }

    def to_text(self) -> str:
        """Return a line for people."""
        entry = self.entry
        names = ", ".join(name for name, _ in self.packages)
        status = entry.status.replace("_", " ")
        if entry.justification:
            status += f" ({entry.justification.replace('_', ' ')})"
        parts = [f"{entry.id} in {names}: {status}; {entry.why}", entry.action]
        return ". ".join(part for part in parts if part) + f" (accepted until {entry.until})"


def excepted(
    lock: Lock,
    variant: str,
    policy: Policy,
    found: Iterable[Vulnerability],
    *,
    inside: Inside,
    looked: bool,
    today: date,
    where: str,
) -> tuple[Excepted, ...]:
    """Return what ``release.yaml`` accepts of an image: what was found in it, or names a package.

    Raises ``ValidationFailed`` for an exception that has ended, unless there were advisories about
    every package (``looked``), and none has the vulnerability any more.
    """
    named = package_urls(lock, variant, inside)
    hits = tuple(found)
    made: list[Excepted] = []
    ended: list[Accepted] = []
    for entry in policy.accepted:
        ours = [v for v in hits if entry.is_of((v.id, *v.aliases), v.package)]
        names = {canonicalize_name(v.package) for v in ours} | {
            canonicalize_name(p) for p in entry.packages
        }
        packages = sorted({pair for name in names for pair in named.get(name, ())})
        unknown = not looked and not entry.packages
        if today > entry.until and (packages or unknown):
            ended.append(entry)
        elif packages:
            aliases = {alias for v in ours for alias in (v.id, *v.aliases)} - {entry.id}
            made.append(
                Excepted(entry=entry, packages=tuple(packages), aliases=tuple(sorted(aliases)))
            )
    if ended:
        listed = "; ".join(f"{e.id}: {e.until} was its last day ({e.why})" for e in ended)
        raise ValidationFailed(
            f"{len(ended)} vulnerabilities are no longer accepted",
            where=f"{POLICY_FILE}, for {where}",
            why=listed,
            hint="use versions without them, or review them and set a new last day",
        )
    return tuple(made)


def package_urls(lock: Lock, variant: str, inside: Inside) -> Mapping[str, set[tuple[str, str]]]:
    """Return an image's packages as scanners know them: by name, (name, package URL).

    ``inside`` has those that are in files of others, such as jars in a wheel.
    """
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    native = (wheel.released for wheel in lock.whole(variant).native)
    for artifact in (*in_image(lock, variant), *native):
        known = ecosystem_of(artifact).scanned(artifact).to_string()
        found[canonicalize_name(artifact.name)].add((artifact.name, known))
    for one in inside.bundled:
        found[canonicalize_name(one.name)].add((one.name, one.purl))
    return found


def document(
    product: Mapping[str, Any], about: Iterable[Excepted], *, author: str | None, at: str, tool: str
) -> dict[str, Any]:
    """Return the OpenVEX document of one product; ``at`` is when that was known (RFC 3339)."""
    return {
        "@context": CONTEXT,
        "@id": f"urn:mlruntime:vex:{product['hashes']['sha-256']}",
        "author": author or _SOMEBODY,
        "timestamp": at,
        "version": 1,
        "tooling": f"mlruntime {tool}",
        "statements": [_statement(one, product) for one in about],
    }


def _statement(one: Excepted, product: Mapping[str, Any]) -> dict[str, Any]:
    entry = one.entry
    value: dict[str, Any] = {
        "vulnerability": {"name": entry.id, "aliases": list(one.aliases)},
        "products": [
            {**product, "subcomponents": [{"@id": address} for _, address in one.packages]}
        ],
        "status": entry.status,
        "status_notes": f"{entry.why} (accepted until {entry.until})",
    }
    if entry.justification:
        value["justification"] = entry.justification
    if entry.action:
        value["action_statement"] = entry.action
    return value


def attested(
    repository: str,
    digest: str,
    about: Iterable[Excepted],
    *,
    author: str | None,
    at: str,
    tool: str,
) -> bytes:
    """Return the document as an in-toto statement about an image of a repository."""
    name = PackageURL("oci", None, repository.rpartition("/")[2], digest).to_string()
    product = {
        "@id": name,
        "identifiers": {"purl": name},
        "hashes": {"sha-256": digest.partition(":")[2]},
    }
    value = document(product, about, author=author, at=at, tool=tool)
    return statement(name, digest, PREDICATE, value)
