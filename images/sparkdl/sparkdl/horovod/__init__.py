"""What a training function may import while ``sparkdl.HorovodRunner`` runs it."""

from sparkdl import _session
from sparkdl.horovod import checkpoint

__all__ = ["checkpoint", "log_to_driver"]

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
