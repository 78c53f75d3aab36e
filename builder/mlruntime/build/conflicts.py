"""Wheels of different layers that bring the same file: refused before the layers are written.

Within a layer the wheels are installed one after another and meet. A layer is made without the
others, or was made long ago for another image, so what they have together is looked at here.
"""

import hashlib
from typing import Final

from mlruntime.build.supplies import BuildSupplies
from mlruntime.ecosystems.pypi.site import Site
from mlruntime.image.plan import Plan
from mlruntime.store.store import Store

KIND: Final = "sites"


def site_key(plan: Plan) -> str:
    """Return what stands for the layers of Python packages that an image has."""
    keys = [layer.key for layer in plan.layers if layer.content.in_site_packages]
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


def refuse_conflicts(plan: Plan, supplies: BuildSupplies, store: Store) -> None:
    """Raise ``InvalidLock`` if two wheels bring one file with different content.

    Native wheels that have not been built yet are left out. Once all are there and agree, the
    store has a record of it, and this costs nothing.
    """
    found = [x.content for x in plan.layers if x.content.in_site_packages]
    if len(found) < 2 or store.record(KIND, site_key(plan)) is not None:
        return
    # Imported late: a build that has nothing to do reads no wheel.
    from mlruntime.ecosystems.pypi.wheel import note_files

    supplies.fetch(wheel for content in found for wheel in content.artifacts)
    native = [supplies.built(wheel) for content in found for wheel in content.native]
    site = Site(supplies.place)
    for content in found:
        for wheel in content.artifacts:
            note_files(supplies.file(wheel), wheel.filename, site, content.has)
    for built in native:
        if built is not None:
            note_files(built.path, built.filename, site)
    if None not in native:
        store.write_record(KIND, site_key(plan), "")
