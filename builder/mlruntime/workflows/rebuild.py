"""Building an image once more, where everything that must not matter is different."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.native import build as native
from mlruntime.errors import Unavailable, ValidationFailed
from mlruntime.host.command import run
from mlruntime.image.files import different_files
from mlruntime.image.image import Image
from mlruntime.image.layout import LayoutBlobs, read_layout
from mlruntime.image.plan import Plan
from mlruntime.lock.model import Lock
from mlruntime.store.store import Store, link_or_copy, storage_errors

_SHOWN: Final = 20
# Nothing is compiled: hours are for a slow disk, and for what is fetched again.
_SECONDS: Final = 3 * 3600
# What a build must not depend on: a time zone off the hour, a locale whose upper case of "i" is
# not "I", another hash of strings.
_ELSEWHERE: Final = {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"}


def rebuilt(
    definitions: Definitions,
    lock: Lock,
    plan: Plan,
    image: Image,
    store: Store,
    *,
    say: Callable[[str], None],
) -> None:
    """Build an image again and compare it; raise ``ValidationFailed`` when it is another one.

    The second build has a store of its own with nothing but the locked files and the native
    wheels, another path, umask, time zone, locale and working directory, and one core where
    ``taskset`` is there. The error lists every file that differs.
    """
    with store.scratch() as scratch:
        with storage_errors(scratch):
            root = _copied(definitions, lock.runtime, scratch / "elsewhere")
            _supplied(store, Store(scratch / "second"), plan, lock)
        layout = scratch / "layout"
        one_core = ["taskset", "-c", "0"] if shutil.which("taskset") else []
        build = [
            sys.executable, "-m", "mlruntime", "--root", str(root), "build", lock.runtime,
            "--variant", plan.variant, "--flavour", plan.flavour, "--output", str(layout), "--json",
        ]  # fmt: skip
        store_there = f"MLRUNTIME_STORE={scratch / 'second'}"
        variables = [*(f"{name}={value}" for name, value in _ELSEWHERE.items()), store_there]
        say(f"{lock.runtime} ({plan.variant}): building it again in a second store")
        run(
            ["env", *variables, *one_core, "sh", "-c", 'umask 077; exec "$@"', "sh", *build],
            cwd=scratch,
            timeout=_SECONDS,
        )
        again = read_layout(layout)
        if again.manifest == image.manifest:
            say(f"{lock.runtime} ({plan.variant}): the same digest")
            return
        lines = different_files(image, store, again, LayoutBlobs(layout))
    rest = len(lines) - _SHOWN
    raise ValidationFailed(
        "built again, the image is another one",
        where=f"{lock.runtime} ({plan.variant})",
        why="; ".join((*lines[:_SHOWN], *([f"and {rest} more"] if rest > 0 else []))),
        hint="what is not reproducible is not released; --no-rebuild leaves the comparison out",
    )


def _copied(definitions: Definitions, runtime: str, root: Path) -> Path:
    root.mkdir()
    shutil.copy(definitions.root / "matrix.yaml", root)
    shutil.copytree(definitions.images_folder(), root / "images", symlinks=True)
    shutil.copytree(definitions.folder(runtime), root / "runtimes" / runtime)
    return root


def _supplied(store: Store, second: Store, plan: Plan, lock: Lock) -> None:
    """Give a second store the files that an image is made of, and nothing made from them."""
    wanted = {artifact.sha256 for artifact in plan.artifacts}
    for wheel in lock.whole(plan.variant).native:
        key, made = native.record_key(wheel), native.built(store, wheel)
        record = store.record("native", key)
        if made is None or record is None:
            raise Unavailable(f"{wheel.name} is not in the store", hint="build the image first")
        wanted.add(made.sha256)
        second.write_record("native", key, record.read_text(encoding="utf-8"))
    folder = second.root / "blobs" / "sha256"
    folder.mkdir(parents=True, exist_ok=True)
    for sha256 in sorted(wanted):
        if (path := store.blob(sha256)) is not None:  # what is not there, is fetched again
            link_or_copy(path, folder / sha256)
