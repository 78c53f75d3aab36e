"""Asking a Kubernetes again that does not answer: API servers restart, connections break."""

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from mlruntime.cluster.kubernetes.kubectl import NoAnswer
from mlruntime.cluster.running import ClusterFailed
from mlruntime.errors import CommandFailed, MlruntimeError, Unavailable

_LOG: Final = logging.getLogger(__name__)
# While something starts, and somebody waits for it.
STARTING_SECONDS: Final = 30.0
# While a program runs, which may be worth hours.
RUNNING_SECONDS: Final = 300.0
PAUSE: Final = 1.0
Answer = TypeVar("Answer")


class Unanswered(Unavailable):
    """Kubernetes has not answered for long, however often it was asked."""


def passing(error: MlruntimeError) -> bool:
    """Tell whether the same question may be answered a moment later."""
    return isinstance(error, NoAnswer | CommandFailed) and not isinstance(error, ClusterFailed)


def patiently(
    question: Callable[[], Answer],
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """Return the answer to a question, which is asked again while Kubernetes does not answer.

    Raises ``Unanswered`` when it has not for so many seconds, and at once what asking again would
    not change.
    """
    begun = clock()
    while True:
        try:
            return question()
        except MlruntimeError as error:
            if not passing(error):
                raise
            if clock() - begun >= seconds:
                why = f"{error.what}: {error.why}" if error.why else error.what
                raise Unanswered(
                    f"Kubernetes has not answered for {seconds:.0f} s", why=why, hint=error.hint
                ) from None
            _LOG.info("asking again: %s", error)
        time.sleep(PAUSE)
