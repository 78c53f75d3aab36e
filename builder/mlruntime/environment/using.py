"""Who uses an environment: one changes it, or several read it."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from mlruntime.environment.description import read_description
from mlruntime.environment.host import refuse_path
from mlruntime.environment.layout import NOTES
from mlruntime.errors import StorageError
from mlruntime.store.locking import held


@contextmanager
def changing(root: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Have an environment for oneself; ``say`` hears what is waited for.

    Raises ``UsageError`` when there is none at ``root``, or not any more. Read what it is only
    then: another process may have changed it meanwhile.
    """
    refuse_path(root)
    with _found(root, say, shared=False):
        yield


@contextmanager
def reading(root: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Keep an environment from being changed, where the file system has locks."""
    with ExitStack() as stack:
        with suppress(StorageError):  # without locks, nobody can change it here, either
            stack.enter_context(_found(root, say, shared=True))
        yield


@contextmanager
def _found(root: Path, say: Callable[[str], None], *, shared: bool) -> Iterator[None]:
    """Lock the environment that is at a path when nobody else has it any more."""
    with ExitStack() as stack:
        while True:
            read_description(root)
            with suppress(FileNotFoundError):  # removed meanwhile: there may be another one
                before = (root / NOTES).stat()
                stack.enter_context(held(root / NOTES, shared=shared, say=say))
                if os.path.samestat(before, (root / NOTES).stat()):
                    break
            stack.close()
        read_description(root)
        yield
