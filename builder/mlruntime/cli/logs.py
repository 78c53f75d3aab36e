"""What is logged, and how much of it is shown: always on stderr, never a password."""

import logging
import sys
from typing import Final

from mlruntime.host.secrets import redacted

PROGRESS: Final = logging.getLogger("mlruntime.progress")


class _Stderr(logging.Handler):
    """Prints to whatever stderr is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line, or several for a traceback, without passwords."""
        try:
            print(redacted(self.format(record)), file=sys.stderr, flush=True)
        except (OSError, ValueError):  # nobody reads it any more
            self.handleError(record)


_HANDLER: Final = _Stderr()
_HANDLER.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))


def show(*, verbose: int = 0, quiet: bool = False) -> None:
    """Show warnings; with ``-v`` each step and request, with ``-vv`` everything.

    ``quiet`` leaves out progress and what is logged, but for errors; ``warn`` and results remain.
    """
    root, ours = logging.getLogger(), logging.getLogger("mlruntime")
    if _HANDLER not in root.handlers:
        root.addHandler(_HANDLER)
    usual = logging.ERROR if quiet else logging.WARNING
    root.setLevel(logging.DEBUG if verbose > 1 else usual)
    told = (usual, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    for logger in (ours, logging.getLogger("httpx")):
        logger.setLevel(told)
    PROGRESS.setLevel(logging.WARNING if quiet else logging.INFO)


def is_quiet() -> bool:
    """Return whether progress is not to be shown."""
    return PROGRESS.level > logging.INFO
