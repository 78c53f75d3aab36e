"""Keras callbacks for training functions: metrics to the driver, checkpoints, acting together.

They work with Keras 2, Keras 3 and tf-keras: this module takes the Keras that the program has
chosen (``TF_USE_LEGACY_KERAS``, or ``tf_keras`` alone imported), and the callbacks follow the
protocol of all three.
"""

import time
from collections.abc import Mapping
from typing import Any

from sparkdl import _session
from sparkdl._progress import metrics_line, plain
from sparkdl.horovod import checkpoint
from sparkdl.horovod.tensorflow._base import Callback
from sparkdl.horovod.tensorflow._collective import collective_callbacks
from sparkdl.horovod.tensorflow._optimizer import set_state, state_of

__all__ = ["CheckpointCallback", "LogCallback", "collective_callbacks"]

_PROGRESS_SECONDS = 0.5


class LogCallback(Callback):
    """Shows rank 0's metrics on the driver: a line per epoch, and a progress line in between.

    ``per_batch_log=True`` makes it a line per batch too. Give it to every rank's ``fit``: on
    ranks other than 0 it does nothing. Outside of a run the lines are printed. All metrics are
    also kept in ``metrics.jsonl`` in the run's log directory.
    """

    def __init__(self, per_batch_log: bool = False) -> None:
        super().__init__()
        self.per_batch_log = per_batch_log
        session = _session.current()
        self._batches = session is None or session.rank == 0
        self._epoch = 0
        self._began = self._sent = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Say which epoch begins."""
        self._epoch = epoch + 1
        self._began = time.monotonic()
        self._send("begin", {})

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Show the batch's metrics, or, twice a second, how far the epoch is."""
        if not self.per_batch_log and time.monotonic() - self._sent < _PROGRESS_SECONDS:
            return
        params = self.params or {}
        event = "batch" if self.per_batch_log else "progress"
        self._send(event, logs, batch=batch + 1, batches=params.get("steps"))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Show the epoch's metrics."""
        seconds = time.monotonic() - self._began
        self._send("epoch", logs, seconds=round(seconds, 3))

    def _send(self, event: str, logs: Mapping[str, Any] | None, **more: Any) -> None:
        if not self._batches:
            return
        self._sent = time.monotonic()
        metrics = {
            "event": event,
            "epoch": self._epoch,
            "epochs": (self.params or {}).get("epochs"),
            **more,
            "logs": {name: plain(value) for name, value in (logs or {}).items()},
        }
        session = _session.current()
        if session is not None:
            session.report(metrics)
        elif (line := metrics_line(0, metrics)) is not None:
            print(line, flush=True)  # noqa: T201


class CheckpointCallback(Callback):
    """Saves a compiled model's weights and its optimizer's state; starts it from the last ones.

    ::

        saver = CheckpointCallback(model)        # after compile; takes up what an earlier
        model.fit(..., initial_epoch=saver.first_epoch, callbacks=[saver, ...])   # attempt left

    It saves after every ``every``-th epoch and through ``sparkdl.horovod.checkpoint``: all
    ranks make one, rank 0's is kept. Random numbers (shuffling, dropout) are not part of it: to
    get an undisturbed run's result to the last bit, let them depend on the epoch alone.
    """

    def __init__(self, model: Any, every: int = 1) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every must be at least 1, not {every}")
        self.every = every
        self.first_epoch = 0
        state = checkpoint.latest()
        if state is not None:
            model.set_weights(state["weights"])
            set_state(model, state)
            self.first_epoch = state["epoch"] + 1

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save, if it is this epoch's turn."""
        session = _session.current()
        if session is None or session.rank != 0 or (epoch + 1) % self.every:
            return
        checkpoint.save(
            {
                "epoch": epoch,
                "weights": self.model.get_weights(),
                **state_of(self.model),
            }
        )
