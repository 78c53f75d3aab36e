"""What the matrix is made of: components, releases, rules. Values only; core: no I/O.

A set of releases of one component is an integer: bit ``i`` stands for ``releases[i]``, newest
first with pre-releases last, which is also the order of preference.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, get_args

from packaging.specifiers import SpecifierSet
from packaging.version import Version

Evidence = Literal["documented", "built", "single-node", "cluster"]
VariantName = Literal["cpu", "gpu"]
Pin = Literal["exact", "prefix", "free"]

EVIDENCE: Final = get_args(Evidence)
VARIANTS: Final = get_args(VariantName)
ANY: Final = "*"
MEASURED: Final = "measured: "
# What `matrix explore` writes; a rule with such a source leaves its evidence to it.
EXPLORED: Final = "explored: "
# Every release.
ALL: Final = SpecifierSet()

PLACEHOLDER: Final = re.compile(r"\{([a-z0-9-]+)(?:\.(major|minor))?\}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactTemplate:
    """What a component is called in a registry.

    ``name`` may hold ``{component.major}`` (17), ``{component.minor}`` (2.12) or ``{component}``
    (the whole version), filled in from a resolution. ``variants`` are those it belongs to.
    ``provides`` are names of other packages that it is under another name, in the same version:
    who has it installed must not install those beside it. ``extras`` are PyPI's, installed with
    it. ``pin`` says how its version follows from the component's: ``exact``, ``prefix`` (12.9 is
    any 12.9.*) or ``free`` (it has versions of its own, and others say which fit). Only the
    ``releases`` have it. ``excludes`` are what it does not bring though its metadata name it, as
    ``GROUP:ARTIFACT``; ``*`` stands for any.
    """

    origin: str
    name: str
    variants: tuple[str, ...]
    provides: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    pin: str = "exact"
    releases: SpecifierSet = ALL
    excludes: tuple[str, ...] = ()

    def is_of(self, release: Version) -> bool:
        """Return whether a release of the component has it."""
        return self.releases.contains(release, prereleases=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """One thing with versions.

    ``releases`` are in order of preference. A component that is ``on_request`` takes part only
    when a request names it: a rule that requires it is silent otherwise. ``part_of`` names the
    component inside which it is delivered, and whose releases it shares. ``spellings`` are those
    releases that PEP 440 spells otherwise than the file. ``variants`` are those it is part of.
    """

    name: str
    title: str
    summary: str
    artifacts: tuple[ArtifactTemplate, ...]
    releases: tuple[Version, ...]
    on_request: bool
    part_of: str | None
    spellings: tuple[str, ...] = ()
    variants: tuple[str, ...] = VARIANTS

    def spell(self, release: Version) -> str:
        """Return a release as the file spells it (``450.80.02``), which PEP 440 may not."""
        return next((s for s in self.spellings if Version(s) == release), str(release))

    @property
    def newest(self) -> Version:
        """Return the most preferred release."""
        return self.releases[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Term:
    """Some releases of one component.

    ``alternatives`` are specifier sets of which one must match; ``text`` is how the file
    spells them. A specifier may refer to another component's version, ``=={tensorflow.minor}.*``.
    """

    component: str
    alternatives: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return the specifiers as the file has them, ``any version`` for ``*``."""
        return " or ".join("any version" if a == ANY else a for a in self.alternatives)


@dataclass(frozen=True, kw_only=True, slots=True)
class Implication:
    """One consequence of a rule: if every ``when`` holds, ``component`` is in ``mask``.

    ``mask`` and the masks of ``when`` are sets of releases; ``absent`` says whether the
    component may also be left out.
    """

    when: tuple[tuple[str, int], ...]
    component: str
    mask: int
    absent: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A rule between releases: when all of ``when`` are present, ``requires`` and ``conflicts``.

    ``says`` is the rule in a sentence, ``source`` a URL or ``measured: …``; ``index`` is its
    place in the file. ``delivered`` are components whose packages of one origin it is about.
    """

    id: str
    index: int
    says: str
    when: tuple[Term, ...]
    requires: tuple[Term, ...]
    conflicts: tuple[Term, ...]
    evidence: str
    source: str
    date: str
    implications: tuple[Implication, ...]
    delivered: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        """Return where the rule's consequence stands, ``rules[12].requires.tensorflow``."""
        if self.requires:
            return f"rules[{self.index}].requires.{self.requires[0].component}"
        return f"rules[{self.index}].conflicts.{self.conflicts[0].component}"


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """All facts. ``preference`` orders every component, the most important first."""

    components: Mapping[str, Component]
    preference: tuple[str, ...]
    rules: tuple[Rule, ...]

    @cached_property
    def rules_by_id(self) -> Mapping[str, Rule]:
        """Return the rules by their ids."""
        return {rule.id: rule for rule in self.rules}


def release_order(versions: Iterable[Version]) -> tuple[Version, ...]:
    """Return versions in order of preference: stable ones newest first, then pre-releases."""
    return tuple(sorted(versions, key=lambda v: (not v.is_prerelease, v), reverse=True))


def mask_of(releases: tuple[Version, ...], specifiers: Iterable[SpecifierSet]) -> int:
    """Return the set of releases that match any of ``specifiers``, as a bit mask."""
    mask = 0
    for specifier in specifiers:
        if not len(specifier):
            return (1 << len(releases)) - 1
        for index, release in enumerate(releases):
            if specifier.contains(release, prereleases=True):
                mask |= 1 << index
    return mask


def fill(template: str, versions: Mapping[str, Version]) -> str:
    """Replace ``{component}``, ``{component.major}`` and ``{component.minor}``.

    Raises ``KeyError`` with the component's name when ``versions`` lacks it.
    """

    def value(found: re.Match[str]) -> str:
        version = versions[found[1]]
        if found[2] == "major":
            return str(version.major)
        return f"{version.major}.{version.minor}" if found[2] else str(version)

    return PLACEHOLDER.sub(value, template)
