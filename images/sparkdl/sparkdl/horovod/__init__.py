"""What a training function may import while ``sparkdl.HorovodRunner`` runs it."""

from typing import Any

from sparkdl import _session, _weights
from sparkdl.horovod import checkpoint

__all__ = ["check_weights", "checkpoint", "log_to_driver"]

MESSAGE_LENGTH = 4000


def log_to_driver(message: object) -> None:
    """Show a message on the driver while the run goes on, whatever its verbosity is.

    Messages longer than 4,000 characters are cut. Outside of a run it is printed here.
    """
    text = str(message)
    if len(text) > MESSAGE_LENGTH:
        text = text[: MESSAGE_LENGTH - 3] + "..."
    session = _session.current()
    if session is None:
        print(text, flush=True)  # noqa: T201
    else:
        session.say(text)


def check_weights(model: Any) -> None:
    """Have the driver compare a Keras model's weights with those of the other ranks, by hash.

    Every rank calls it equally often. It does not wait: a run in which ranks have trained different
    weights is ended with ``RankFailed``. ``options(check_weights=True)`` does this after every
    ``fit``; loops of one's own call it themselves. Outside of a run it does nothing.
    """
    session = _session.current()
    if session is not None and session.size > 1:
        session.compare(_weights.described(model))
