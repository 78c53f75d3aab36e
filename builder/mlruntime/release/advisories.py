"""Advisories as an OSV database has them: read, checked, and found by package. Core: no I/O."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from mlruntime.documents.schema import Form
from mlruntime.ecosystems.registered import ECOSYSTEMS
from mlruntime.errors import InvalidDefinition


class _Open(Form, frozen=True, rename=None, forbid_unknown_fields=False):
    """A form of OSV's, as far as it is read here."""


class AdvisedPackageForm(_Open, frozen=True, kw_only=True):
    """A package."""

    ecosystem: str
    name: str


class RangeForm(_Open, frozen=True, kw_only=True):
    """Versions from one event to the next."""

    type: str
    events: tuple[dict[str, str], ...] = ()


class GradedForm(_Open, frozen=True, kw_only=True):
    """What may say how grave it is."""

    severity: list[dict[str, Any]] | None = None
    database_specific: dict[str, Any] | None = None
    ecosystem_specific: dict[str, Any] | None = None


class AffectedForm(GradedForm, frozen=True, kw_only=True):
    """A package that is affected, and in which versions."""

    package: AdvisedPackageForm | None = None
    versions: tuple[str, ...] = ()
    ranges: tuple[RangeForm, ...] = ()


class AdvisoryForm(GradedForm, frozen=True, kw_only=True):
    """An advisory (https://ossf.github.io/osv-schema/)."""

    id: str
    aliases: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    affected: tuple[AffectedForm, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """Advisories by (ecosystem, package), as an OSV database has them.

    ``ecosystems`` are those that it knows at all, as it calls them: ``PyPI``, ``Debian:12``.
    """

    advisories: Mapping[tuple[str, str], tuple[Mapping[str, Any], ...]]
    count: int
    ecosystems: frozenset[str]


def parse_advisories(texts: Iterable[tuple[str, bytes]]) -> Known:
    """Read advisories: (file, JSON). ``InvalidDefinition`` for a file that has none."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    count, ecosystems = 0, set()
    for file, content in texts:
        try:
            value = json.loads(content)
            form = msgspec.convert(value, AdvisoryForm)
        except (ValueError, msgspec.ValidationError) as problem:
            raise InvalidDefinition(
                "this is no OSV advisory",
                where=file,
                why=str(problem),
                hint="https://ossf.github.io/osv-schema/",
            ) from None
        packages = [a.package for a in form.affected if a.package]
        keys = [key_of(p.ecosystem, p.name) for p in packages]
        count += 1
        ecosystems |= {ecosystem for ecosystem, _ in keys}
        if value.get("withdrawn"):
            continue
        for key in dict.fromkeys(keys):
            if value not in found.setdefault(key, []):
                found[key].append(value)
    if not count:
        raise InvalidDefinition(
            "the given files contain no advisory", why="an empty database finds nothing"
        )
    by_key = {key: tuple(values) for key, values in found.items()}
    return Known(by_key, count, frozenset(ecosystems))


def key_of(advisories: str, name: str) -> tuple[str, str]:
    """Return what an advisory is found by; OSV has more ecosystems, whose names stay."""
    whole = advisories.partition(":")[0]
    ours = next((one for one in ECOSYSTEMS.values() if one.advisories == whole), None)
    return advisories, ours.advised(name) if ours else name
