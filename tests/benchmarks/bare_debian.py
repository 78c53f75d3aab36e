"""The packages of a bare Debian with apt, which a Dockerfile's FROM would bring."""

from collections.abc import Iterable, Mapping

from debian.deb822 import Deb822, PkgRelation


def bare(controls: Mapping[str, Deb822]) -> frozenset[str]:
    """Return the names of the essential packages, of apt, and of all that they depend on."""
    essential = (name for name, found in controls.items() if found.get("Essential") == "yes")
    return _closure(controls, [*essential, "apt"])


def _closure(controls: Mapping[str, Deb822], names: Iterable[str]) -> frozenset[str]:
    providers: dict[str, list[str]] = {}
    for name in sorted(controls):
        providers.setdefault(name, []).insert(0, name)
        for other in _mentioned(controls[name], "Provides"):
            providers.setdefault(other, []).append(name)
    found: set[str] = set()
    left = sorted(names)
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            wanted = (
                *_mentioned(controls[name], "Pre-Depends"),
                *_mentioned(controls[name], "Depends"),
            )
            left += [providers[other][0] for other in wanted if other in providers]
    return frozenset(found)


def _mentioned(paragraph: Deb822, field: str) -> tuple[str, ...]:
    """Return the names in a relation field; of alternatives, all."""
    text = paragraph.get(field)
    if not text:
        return ()
    return tuple(str(one["name"]) for group in PkgRelation.parse_relations(text) for one in group)
