"""The sides of an ``env diff``: an environment, an image, or a file that tells of one."""

from collections.abc import Mapping
from pathlib import Path

from mlruntime.definitions.files import Definitions, read_text
from mlruntime.documents.reading import read_json
from mlruntime.environment.description import is_environment
from mlruntime.environment.inventory import Inventory, of_environment, of_lock, read_inventory
from mlruntime.errors import InvalidLock, UsageError
from mlruntime.host.gpus import HostGpus, NoGpus
from mlruntime.host.system import System
from mlruntime.image.config import FLAVOUR_LABEL, LABEL
from mlruntime.image.difference import parse_named
from mlruntime.image.layout import is_layout, read_labels
from mlruntime.lock.model import CORE
from mlruntime.store.store import Store
from mlruntime.workflows.difference import side
from mlruntime.workflows.locked import read_lock


def host_properties(system: System, gpus: HostGpus | NoGpus) -> Mapping[str, str]:
    """Return what an environment depends on of a host; what is not known is left out."""
    found = {
        "processor": system.level,
        "glibc": system.glibc,
        "linux": system.kernel,
        "driver": gpus.driver if isinstance(gpus, HostGpus) else "",
    }
    return {name: value for name, value in found.items() if value}


def inventory(
    definitions: Definitions, store: Store, named: str, host: Mapping[str, str]
) -> Inventory:
    """Return what an environment has, an OCI layout, an inventory's file, or a locked image.

    ``host`` are the properties of this host. Raises ``UsageError`` for what is none of these.
    """
    path = Path(named)
    if is_environment(path):
        return of_environment(path, host)
    if path.is_dir():
        return _of_layout(definitions, path)
    if path.is_file():
        found = read_inventory(read_json(read_text(path, named, InvalidLock), file=named))
        if found is not None:
            return found
    one = side(definitions, store, parse_named(named))
    return of_lock(one.lock, one.plan.variant)


def _of_layout(definitions: Definitions, folder: Path) -> Inventory:
    if not is_layout(folder):
        raise UsageError(
            "this is neither an environment nor an OCI layout",
            where=str(folder),
            hint="make one: `mlruntime env create`, or `mlruntime build --output`",
        )
    labels = read_labels(folder)
    runtime, flavour = labels.get(f"{LABEL}.runtime"), labels.get(FLAVOUR_LABEL, CORE)
    if runtime is None:
        raise UsageError(
            f"it was not built by mlruntime: it has no label {LABEL}.runtime", where=str(folder)
        )
    lock = read_lock(definitions, runtime)
    if flavour in lock.flavour_names:
        lock = lock.cut(flavour)
    if lock.digest != (labelled := labels.get(f"{LABEL}.lock.digest")):
        raise InvalidLock(
            f"{runtime} has another lock here than this image was built from ({labelled})",
            where=str(folder),
            why="an image's labels name its lock, but not the packages in it",
            hint="name the lock's file instead, or its revision: RUNTIME@REVISION",
        )
    return of_lock(lock, labels.get(f"{LABEL}.variant", "cpu"))
