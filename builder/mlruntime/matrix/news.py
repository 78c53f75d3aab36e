"""What has been released since the matrix was written, and the matrix with it. Core: no I/O."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any, Final

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from mlruntime.matrix.editing import with_releases, with_rule_added
from mlruntime.matrix.encoding import Encoding
from mlruntime.matrix.model import ALL, PLACEHOLDER, Component, Matrix, fill
from mlruntime.matrix.parsing import parse_matrix
from mlruntime.matrix.soundness import contradictions

PYTHON: Final = "python"
_RECENT_MINORS: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A release as one registry offers it.

    ``requires_python`` is what its metadata say; ``pythons`` are the interpreters it has wheels
    for (``3.11``), ``None`` when it has something that fits all.
    """

    version: Version
    requires_python: str | None = None
    pythons: frozenset[str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """What a registry has under one name: ``origin:name``, and its releases.

    Only the releases ``of`` the component should be there.
    """

    what: str
    releases: tuple[Release, ...]
    of: SpecifierSet = ALL

    @property
    def versions(self) -> frozenset[Version]:
        """Return the versions."""
        found = (release.version for release in self.releases)
        return frozenset(version for version in found if self.should_have(version))

    def should_have(self, version: Version) -> bool:
        """Return whether a release of the component is to be found here."""
        return self.of.contains(version, prereleases=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentOffers:
    """What was found out about one component: an offer for each artifact, or why there is none.

    Alternatives of one artifact (a jar for each Scala) have been joined into one offer.
    """

    component: str
    offers: tuple[Offer, ...] = ()
    error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """What has been released of one component since: what to add, and what not, with why."""

    component: str
    newest: str
    added: tuple[Version, ...] = ()
    left_out: tuple[tuple[Version, str], ...] = ()
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "component": self.component,
            "newest": self.newest,
            "added": [str(version) for version in self.added],
            "left_out": [{"version": str(v), "why": why} for v, why in self.left_out],
            "error": self.error,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """News of every component that was asked about, and the text of the matrix with them."""

    news: tuple[News, ...]
    before: str
    after: str
    rules: tuple[str, ...]

    @property
    def patch(self) -> str:
        """Return the change as a unified diff that ``patch -p1`` and ``git apply`` take."""
        return "".join(
            difflib.unified_diff(
                self.before.splitlines(keepends=True),
                self.after.splitlines(keepends=True),
                "a/matrix.yaml",
                "b/matrix.yaml",
            )
        )


def alternatives(template: str, matrix: Matrix) -> tuple[str, ...]:
    """Return every name that a template can stand for, given the releases of the matrix."""
    used = list(dict.fromkeys(found[1] for found in PLACEHOLDER.finditer(template)))
    choices = product(*(matrix.components[component].releases for component in used))
    names = (fill(template, dict(zip(used, chosen, strict=True))) for chosen in choices)
    return tuple(dict.fromkeys(names))


def since(component: Component, offered: Iterable[Version]) -> tuple[Version, ...]:
    """Return the releases that came after those that are known, oldest first.

    Pre-releases do not count. A release counts when it is newer than all known ones of its minor;
    of a minor that is not known, when it is newer than all known ones of its major; of a new
    major, when it is newer than all. What the matrix has passed over so far stays passed over.
    """
    known = component.releases
    found = []
    for version in sorted(set(offered)):
        if version.is_prerelease or version in known:
            continue
        peers = [r for r in known if r.release[:2] == version.release[:2]]
        peers = peers or [r for r in known if r.major == version.major] or list(known)
        if version > max(peers):
            found.append(version)
    return tuple(found)


def lists_patches(component: Component) -> bool:
    """Return whether the matrix lists every patch release, or the last of each minor only.

    Read off the newest minors: if one of them has more than one release, all are listed.
    """
    stable = sorted((r for r in component.releases if not r.is_prerelease), reverse=True)
    minors = [list(group) for _, group in groupby(stable, key=lambda r: r.release[:2])]
    return any(len(releases) > 1 for releases in minors[:_RECENT_MINORS])


def news_of(component: Component, answer: ComponentOffers) -> News:
    """Return what is new; a release that not every artifact has is left out."""
    newest = component.spell(component.newest)
    if answer.error is not None or not answer.offers:
        error = answer.error or "no registry was asked"
        return News(component=component.name, newest=newest, error=error)
    anywhere = frozenset.union(*(offer.versions for offer in answer.offers))
    everywhere = {version for version in anywhere if not _lacking(answer, version)}
    added, left_out = [], []
    fresh = since(component, anywhere)
    for version in fresh:
        later = [v for v in fresh if v.release[:2] == version.release[:2] and v > version]
        if version not in everywhere:
            left_out.append((version, f"not there: {', '.join(_lacking(answer, version))}"))
        elif not lists_patches(component) and set(later) & everywhere:
            left_out.append((version, f"{later[-1]} is the last of its minor"))
        else:
            added.append(version)
    return News(
        component=component.name, newest=newest, added=tuple(added), left_out=tuple(left_out)
    )


def _lacking(answer: ComponentOffers, version: Version) -> list[str]:
    """Return where a release should be and is not."""
    return [
        offer.what
        for offer in answer.offers
        if offer.should_have(version) and version not in offer.versions
    ]


def propose(text: str, answers: Iterable[ComponentOffers], *, file: str, today: str) -> Proposal:
    """Return the matrix with the new releases, and with a rule where one is known to be missing.

    A release that no combination could have is left out: `matrix check` would refuse it.
    """
    matrix = parse_matrix(text, file=file)
    told = {a.component: a for a in answers}
    news = {name: news_of(matrix.components[name], answer) for name, answer in told.items()}
    while True:
        after = text
        for name, found in news.items():
            if found.added:
                after = with_releases(after, name, [str(version) for version in found.added])
        after, rules = _with_rules(after, news, told, file=file, today=today)
        useless = contradictions(parse_matrix(after, file=file)) if after != text else ()
        fault = next((p for p in useless if set(p.releases) & set(_added(news, p.component))), None)
        if fault is None:
            return Proposal(news=tuple(news.values()), before=text, after=after, rules=rules)
        news[fault.component] = _without(news[fault.component], fault.releases, fault.why)


def _added(news: Mapping[str, News], component: str) -> tuple[Version, ...]:
    return news[component].added if component in news else ()


def _without(news: News, gone: Iterable[Version], why: str) -> News:
    lost = [version for version in news.added if version in set(gone)]
    return News(
        component=news.component,
        newest=news.newest,
        added=tuple(version for version in news.added if version not in lost),
        left_out=(*news.left_out, *((version, f"no combination: {why}") for version in lost)),
    )


def _with_rules(
    text: str,
    news: Mapping[str, News],
    told: Mapping[str, ComponentOffers],
    *,
    file: str,
    today: str,
) -> tuple[str, tuple[str, ...]]:
    """Add a rule for each new release that does not go with a Python the rules let it have."""
    matrix = parse_matrix(text, file=file)
    if PYTHON not in matrix.components:
        return text, ()
    encoding, rules = Encoding(matrix), []
    for name, found in news.items():
        component = matrix.components[name]
        for version in found.added:
            release = _release(told[name], version)
            if release is None:
                continue
            fitting = pythons_of(release, matrix.components[PYTHON].releases)
            allowed = {
                p
                for p in matrix.components[PYTHON].releases
                if encoding.solve(
                    [
                        encoding.line(name, SpecifierSet(f"==={version}")),
                        encoding.line(PYTHON, SpecifierSet(f"==={p}")),
                    ]
                ).values
                is not None
            }
            if fitting and allowed - set(fitting):
                ident = f"{name}-{version}-{PYTHON}"
                text = with_rule_added(
                    text, name, _rule(component, version, fitting, ident, told[name], today)
                )
                rules.append(ident)
    return text, tuple(rules)


def _release(answer: ComponentOffers, version: Version) -> Release | None:
    """Return what PyPI tells of a release; ``None`` when it tells nothing about Pythons."""
    for offer in answer.offers:
        for release in offer.releases:
            told = release.requires_python is not None or release.pythons is not None
            if release.version == version and told:
                return release
    return None


def pythons_of(release: Release, known: Iterable[Version]) -> tuple[Version, ...]:
    """Return those of ``known`` that a release is for, oldest first."""
    pythons = SpecifierSet(release.requires_python or "")
    return tuple(
        python
        for python in sorted(known)
        # Metadata name patch releases (>=3.9.2); a late patch release stands for the minor.
        if pythons.contains(f"{python}.99", prereleases=True)
        and (release.pythons is None or str(python) in release.pythons)
    )


def _rule(
    component: Component,
    version: Version,
    pythons: tuple[Version, ...],
    ident: str,
    answer: ComponentOffers,
    today: str,
) -> Mapping[str, str]:
    """Return a rule's lines by key, as YAML."""
    first, last = pythons[0], pythons[-1]
    span = f"Python {first}" if first == last else f"Python {first} to {last}"
    package = next(o.what for o in answer.offers if o.what.startswith("pypi:"))
    specifiers = ", ".join(f'"=={python}.*"' for python in pythons)
    return {
        "id": ident,
        "says": f"{component.title} {version} is for {span}.",
        "when": f'{{{component.name}: "=={version}"}}',
        "requires": f"{{{PYTHON}: [{specifiers}]}}",
        "evidence": "documented",
        "source": f"pkg:{package.replace(':', '/')}@{version}",
        "date": today,
    }
