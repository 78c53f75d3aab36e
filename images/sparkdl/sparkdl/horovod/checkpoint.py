"""The state a run goes on from when it has to start again.

In ``main``, on every rank::

    from sparkdl.horovod import checkpoint

    state = checkpoint.latest()                  # None on the first start
    first = state["epoch"] + 1 if state else 0
    for epoch in range(first, epochs):
        ...
        checkpoint.save({"epoch": epoch, "weights": model.get_weights()})

``save`` keeps what rank 0 gives it and does nothing on other ranks; it returns when the state is
safe from the loss of any rank. ``latest`` gives every rank the same: the newest state that was
saved when this attempt began. For Keras models, ``sparkdl.horovod.tensorflow.keras`` has
``CheckpointCallback``.

With ``options(checkpoint_directory=…)`` rank 0 writes files there itself. Otherwise the state
goes to the driver, which keeps the newest in the run's log directory, for its owner's eyes only.
Both are removed when the run has succeeded, and left for ``options(resume_from=…)`` when not.
A state is any value that cloudpickle takes. Outside of a run nothing is kept and ``latest`` is
``None``, so the same ``main`` runs alone.
"""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

from sparkdl import _session
from sparkdl._wire import Kind

__all__ = ["latest", "save"]

NAME = "checkpoint"
# How the driver answers: with the state itself, or with the file that holds it.
DATA, PATH = b"D", b"P"


def save(state: Any) -> None:
    """Keep ``state`` if this is rank 0; raise ``OSError`` when it cannot be kept."""
    session = _session.current()
    if session is None or session.rank != 0:
        return
    import cloudpickle

    data = cloudpickle.dumps(state)
    if session.checkpoints is not None:
        # A name for each attempt: what other ranks start from must not change while they read.
        write(Path(session.checkpoints) / f"{NAME}-{session.attempt}", data)
    elif trouble := session.ask(Kind.SAVE, data):
        raise OSError(f"the driver could not keep the checkpoint: {trouble.decode()}")


def latest() -> Any:
    """Return the state this attempt starts from, ``None`` when there is none yet."""
    session = _session.current()
    if session is None:
        return None
    import cloudpickle

    answer = session.ask(Kind.LOAD)
    if not answer:
        return None
    kind, body = answer[:1], answer[1:]
    return cloudpickle.loads(body if kind == DATA else Path(body.decode()).read_bytes())


def write(path: Path, data: bytes) -> None:
    """Write a file that is there completely or not at all, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
