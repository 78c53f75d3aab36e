"""Trying again what has failed for the moment, after the pauses that servers ask for."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

import httpx

from mlruntime.errors import Unavailable
from mlruntime.host.settings import without_secrets

# The longest ``Retry-After`` that is waited for, in seconds.
_PATIENCE: Final = 120.0
T = TypeVar("T")
_LOG: Final = logging.getLogger(__name__)


class TemporaryFailure(Exception):
    """A temporary failure of the registry; another try may succeed after ``pause`` seconds.

    Raised within an attempt that ``Retries.again`` makes, and never seen outside of it.
    """

    def __init__(self, said: str, pause: float | None = None) -> None:
        super().__init__(said)
        self.pause = pause


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """Tries again: after ``pauses``, in seconds, unless ``stop`` says that nobody waits any more.

    Not with tenacity: how long to wait is the server's word or ours, and an interrupt ends it; the
    rules would be as long as this loop.
    """

    pauses: tuple[float, ...]
    sleep: Callable[[float], None]
    stop: Callable[[], bool]

    def again(
        self,
        attempt: Callable[[], T],
        url: str,
        *,
        failed: str,
        hint: str,
        progress: Callable[[], int] = lambda: 0,
    ) -> T:
        """Return what ``attempt`` returns, tried again after each ``TemporaryFailure``.

        After the last try it raises ``Unavailable``: that ``url`` has ``failed``, with ``hint``.
        Tries that got further, as ``progress`` tells in bytes, do not count.
        """
        tries, best = 0, progress()
        while True:
            try:
                return attempt()
            except TemporaryFailure as error:
                if (have := progress()) > best:
                    tries, best = 0, have
                pause = self.pauses[tries] if tries < len(self.pauses) else None
                tries += 1
                if pause is None or self.stop():
                    raise Unavailable(
                        f"{without_secrets(url)} {failed}",
                        why=f"{error} ({len(self.pauses) + 1} tries)",
                        hint=hint,
                    ) from None
                seconds = pause if error.pause is None else max(pause, error.pause)
                shown = without_secrets(url)
                _LOG.info("%s: %s; trying again in %.1f s", shown, error, seconds)
                self.sleep(seconds)


def pause_of(answer: httpx.Response, url: str) -> float | None:
    """Return how many seconds the server asks us to wait; raise when that is too long."""
    said = answer.headers.get("Retry-After", "").strip()
    if said.isdigit():
        seconds = float(said)
    else:
        try:
            moment = parsedate_to_datetime(said)
        except ValueError:
            return None
        seconds = max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
    if seconds > _PATIENCE:
        raise Unavailable(
            f"{without_secrets(url)} asks clients to wait",
            why=f"HTTP status {answer.status_code}, in {seconds:.0f} s (Retry-After)",
            hint="run it again then: what was downloaded is kept",
        )
    return seconds
