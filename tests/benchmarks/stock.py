"""PySpark as ``pip install pyspark`` gives it on Debian: what MLlib's benchmark compares with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase

from mlruntime.build.context import BuildContext
from mlruntime.build.stage import build
from mlruntime.definitions.files import Definitions
from mlruntime.engine import Engine
from mlruntime.image.image import load
from mlruntime.image.plan import Plan
from mlruntime.image.sources.debian import ConfiguredPackages, DebianPackages
from mlruntime.image.sources.model import PlannedLayer, layer_key
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact, set_digest
from mlruntime.store.store import Store
from mlruntime.workflows.planning import TOOLS
from mlruntime.workflows.store.stores import fetcher

# The same Debian, Java, Python, PySpark, NumPy, pandas and PyArrow; of our own nothing.
LAYERS = (
    "interpreter", "os", "java", "configured", "environment", "scientific", "python",
    "spark-libraries", "spark-updates", "spark",
)  # fmt: skip
# What nobody has who does not know that MLlib looks for it.
WITHOUT = "*openblas*"


@contextmanager
def stock_image(
    engine: Engine, store: Store, definitions: Definitions, plan: Plan, lock: Lock
) -> Iterator[str]:
    """Give the engine an image with stock PySpark for a block; yield its reference."""
    reference = f"mlruntime/bench-stock:{plan.runtime}"
    packages = tuple(a for a in lock.os if not fnmatchcase(a.name, WITHOUT))
    assert packages != lock.os, f"the lock has no {WITHOUT}"
    layers = tuple(_without(layer, packages) for layer in plan.layers if layer.name in LAYERS)
    environment = tuple(v for v in plan.config.environment if v[0] != "SPARK_CONF_DIR")
    config = replace(plan.config, entrypoint=(), environment=environment)
    shop = BuildContext(
        store=store,
        fetch=fetcher(store).fetch_all,
        engine=lambda: engine,
        say=lambda _: None,
        images=definitions.image_files(),
    )
    try:
        image = build(
            replace(plan, layers=layers, config=config),
            replace(lock, os=packages),
            shop,
            reference=reference,
            created="1980-01-01T00:00:00Z",
        )
        load(image, store, engine)
        yield reference
    finally:
        shop.clear()
        engine.remove_image(reference)


def _without(layer: PlannedLayer, packages: tuple[Artifact, ...]) -> PlannedLayer:
    """Return a layer with those of its Debian packages that are in ``packages``."""
    content = layer.content
    if isinstance(content, DebianPackages):
        kept = tuple(a for a in content.packages if a in packages)
        key = layer_key("debian", [TOOLS.unpacking, set_digest(kept)])
        return replace(layer, key=key, content=DebianPackages(packages=kept))
    if isinstance(content, ConfiguredPackages):
        key = layer_key("configured", [TOOLS.configuring, set_digest(packages)])
        return replace(layer, key=key, content=ConfiguredPackages(packages=packages))
    return layer
