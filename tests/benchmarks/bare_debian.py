"""A bare Debian with apt, which a Dockerfile's FROM would bring, from a lock's packages."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from debian.deb822 import Deb822, PkgRelation
from mlruntime.build.bootstrap import CONFIG
from mlruntime.build.context import BuildContext
from mlruntime.build.stage import build
from mlruntime.ecosystems.debian.packages import read_package
from mlruntime.engine import Engine
from mlruntime.image.image import load
from mlruntime.image.plan import Plan
from mlruntime.image.sources.debian import ConfiguredPackages, DebianPackages
from mlruntime.image.sources.model import PlannedLayer, layer_key
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import set_digest
from mlruntime.store.store import Store
from mlruntime.workflows.planning import TOOLS
from mlruntime.workflows.store.stores import fetcher


def give_base(
    engine: Engine,
    store: Store,
    plan: Plan,
    lock: Lock,
    reference: str,
    *,
    more: tuple[str, ...] = (),
) -> None:
    """Load a bare Debian with apt, and ``more`` of the lock's packages, into the engine."""
    debs = fetcher(store).fetch_all(lock.os)
    controls = {a.name: Deb822(read_package(a, debs[a.sha256]).paragraph) for a in lock.os}
    names = _bare(controls, more)
    packages = tuple(a for a in lock.os if a.name in names)
    layers = tuple(
        PlannedLayer(
            name=source,
            key=layer_key(source, [TOOLS.unpacking, TOOLS.configuring, set_digest(packages)]),
            content=content(packages=packages),
        )
        for source, content in (("debian", DebianPackages), ("configured", ConfiguredPackages))
    )
    shop = BuildContext(
        store=store,
        fetch=fetcher(store).fetch_all,
        engine=lambda: engine,
        say=lambda _: None,
        images={},
    )
    try:
        image = build(
            replace(plan, layers=layers, config=CONFIG),
            replace(lock, os=packages),
            shop,
            reference=reference,
            created="1980-01-01T00:00:00Z",
        )
        load(image, store, engine)
    finally:
        shop.clear()


def _bare(controls: Mapping[str, Deb822], more: Iterable[str]) -> frozenset[str]:
    """Return the names of the essential packages, of apt, of more, and of all they depend on."""
    essential = (name for name, found in controls.items() if found.get("Essential") == "yes")
    return _closure(controls, [*essential, "apt", *more])


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
