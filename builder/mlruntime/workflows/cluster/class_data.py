"""An image's class data: found or made, and remembered, so that pruning keeps what is used."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from mlruntime.cluster.class_data import ClassData
from mlruntime.cluster.preparing import prepare, prepared
from mlruntime.cluster.signals import ended_as_by_ctrl_c
from mlruntime.engine import Engine, ImageInfo
from mlruntime.errors import CommandFailed, StorageError
from mlruntime.store.contents import BLOB, CLASS_DATA, USES
from mlruntime.store.store import Store

_LOG: Final = logging.getLogger(__name__)


def have(
    store: Store, engine: Engine, image: ImageInfo, *, before: Callable[[], None] = lambda: None
) -> ClassData:
    """Return the class data of an image, made if the store has none; ``before`` comes before that.

    Raises ``CommandFailed`` when it cannot be made, ``StorageError`` when it cannot be kept.
    """
    found = prepared(store, image)
    if found is None:
        before()
        found = _made(store, engine, image)
    _remember(store, found)
    return found


def _made(store: Store, engine: Engine, image: ImageInfo) -> ClassData:
    with ended_as_by_ctrl_c():
        return prepare(store, engine, image, on_line=_LOG.info)


def _remember(store: Store, found: ClassData) -> None:
    needs = [[CLASS_DATA, found.key], *([BLOB, path.name] for path in found.files.values())]
    store.write_record(USES, f"{CLASS_DATA}-{found.key[:16]}", json.dumps({"needs": needs}))


@contextmanager
def for_a_cluster(
    store: Store, engine: Engine, image: ImageInfo, say: Callable[[str], None], *, make: bool
) -> Iterator[ClassData | None]:
    """Yield the class data of an image, for a block in which it is not pruned.

    With ``make`` it is made if the store has none. ``None``, when there is none, or after saying
    why it cannot be made or kept: a cluster does without.
    """

    def before() -> None:
        say("preparing the image so that its JVMs start faster; once, for a minute or two")

    with ExitStack() as stack:
        found: ClassData | None = None
        try:
            stack.enter_context(store.shared())
            found = prepared(store, image)  # reads and hashes 200 MB: only once
            if found is None and make:
                before()
                found = _made(store, engine, image)
            if found is not None:
                _remember(store, found)
        except (CommandFailed, StorageError) as error:
            found = None
            say(f"JVMs start without class data, and so more slowly\n  why: {error.what}")
            _LOG.info("%s", error)
        yield found  # outside of the try: an error of the block is the block's own
