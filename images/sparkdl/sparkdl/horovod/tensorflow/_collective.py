"""Callbacks that decide by metrics, on ranks that have to decide alike."""

from collections.abc import Mapping, Sequence
from typing import Any

from sparkdl.horovod.tensorflow._base import Callback
from sparkdl.horovod.tensorflow._optimizer import set_state, state_of

Numbers = float | list[Any]
# What a rank has to say: its metrics, and how many rows it has trained and validated with.
Account = tuple[Mapping[str, Numbers], float | None, float | None]

# They write files, whose names are the same on all ranks.
_WRITERS = {"CSVLogger", "ModelCheckpoint", "OrbaxCheckpoint", "RemoteMonitor", "TensorBoard"}
_RESUMING = {"BackupAndRestore"}
# They look at every batch and never stop training.
_HARMLESS = {*_WRITERS, *_RESUMING, "ProgbarLogger", "LogCallback", "CheckpointCallback"}


def collective_callbacks(callbacks: Sequence[Any]) -> list[Any]:
    """Return ``callbacks`` for ``fit``, made to act alike on all ranks.

    ::

        model.fit(..., callbacks=collective_callbacks([EarlyStopping("val_loss", patience=2)]))

    Every rank must call it, after ``hvd.init()``. Before any callback sees an epoch's metrics,
    they are averaged over the ranks, each with as many rows as it has trained or validated with:
    ``EarlyStopping`` (also its best weights), ``ReduceLROnPlateau`` and ``History`` then see the
    same numbers everywhere. When a callback stops training on one rank, all ranks stop with the
    same batch (``TerminateOnNaN``) or epoch. Callbacks that write files (``ModelCheckpoint``,
    ``CSVLogger``, ``TensorBoard``) do so on rank 0 alone, and so does ``BackupAndRestore``, whose
    state rank 0 hands to the others.
    """
    import horovod.tensorflow as hvd

    if hvd.size() == 1:
        return list(callbacks)
    chosen: list[Any] = [_Averaged()]
    for callback in callbacks:
        resuming = _is_one_of(callback, _RESUMING)
        if hvd.rank() == 0 or not (resuming or _is_one_of(callback, _WRITERS)):
            chosen.append(callback)
        if resuming:
            chosen.append(_Resumed())
    return [*chosen, _Agreed(per_batch=any(map(_may_stop_at_a_batch, callbacks)))]


class _Averaged(Callback):
    """Replaces an epoch's metrics by those of all ranks."""

    def __init__(self) -> None:
        super().__init__()
        self._trained: float | None = None
        self._validates = False

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Forget the last epoch's rows."""
        self._validates = False

    def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Note the rows trained with: validation counts anew."""
        if not self._validates:
            self._trained, self._validates = _rows_seen(self.model), True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Average the metrics, in place."""
        import numpy as np

        logs = {} if logs is None else logs
        seen = _rows_seen(self.model)
        trained, held = (self._trained, seen) if self._validates else (seen, None)
        own = {
            name: number for name, value in logs.items() if (number := numbers(value)) is not None
        }
        for name, value in averaged(_gathered((own, trained, held), "metrics")).items():
            logs[name] = np.asarray(value) if isinstance(value, list) else value


class _Agreed(Callback):
    """Stops all ranks where one stops."""

    _batches = True

    def __init__(self, *, per_batch: bool) -> None:
        super().__init__()
        self._per_batch = per_batch

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Agree on how often to ask."""
        self._per_batch = any(_gathered(self._per_batch, "per batch"))

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop if a rank has stopped, where that can happen at a batch."""
        if self._per_batch:
            self._agree()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop if a rank has stopped."""
        self._agree()

    def _agree(self) -> None:
        import horovod.tensorflow as hvd
        import tensorflow as tf

        own = tf.constant(int(bool(self.model.stop_training)), tf.int32)
        if int(hvd.allreduce(own, op=hvd.Sum, name="sparkdl.collective.stop")):
            self.model.stop_training = True


class _Resumed(Callback):
    """Gives all ranks what rank 0's ``BackupAndRestore`` has restored."""

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Hand over the weights, the optimizer's state and where to go on."""
        import horovod.tensorflow as hvd

        model = self.model
        state = None
        if hvd.rank() == 0:
            state = {"weights": model.get_weights(), **state_of(model)}
            state["epoch"] = getattr(model, "_initial_epoch", None)
        state = hvd.broadcast_object(state, root_rank=0, name="sparkdl.collective.restored")
        if hvd.rank() != 0:
            model.set_weights(state["weights"])
            set_state(model, state)
        if hasattr(model, "_training_state"):  # Keras 2
            model._training_state = _Counters(model._training_state)
        else:
            model._initial_epoch = state["epoch"]


class _Counters:
    """Tells all ranks what rank 0's training state tells Keras 2: where to go on."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def maybe_load_initial_counters_from_ckpt(self, *arguments: Any, **named: Any) -> Any:
        """Return the epoch and the step to begin with."""
        import horovod.tensorflow as hvd

        own = None
        if hvd.rank() == 0:
            own = tuple(
                map(int, self._own.maybe_load_initial_counters_from_ckpt(*arguments, **named))
            )
        return hvd.broadcast_object(own, root_rank=0, name="sparkdl.collective.counters")


def averaged(accounts: Sequence[Account]) -> dict[str, Numbers]:
    """Return the ranks' metrics as one: averages by rows, of the ranks that have a metric.

    Vectors are averaged number by number. Of a metric that has different shapes, the first
    rank's counts.
    """
    found = {}
    for name in sorted({name for metrics, _, _ in accounts for name in metrics}):
        given = [
            (metrics[name], held if name.startswith("val_") else trained)
            for metrics, trained, held in accounts
            if name in metrics
        ]
        weighted = [(value, rows or 0.0) for value, rows in given]
        if any(rows is None for _, rows in given) or not any(rows for _, rows in weighted):
            weighted = [(value, 1.0) for value, _ in given]
        found[name] = _mean([(value, rows) for value, rows in weighted if rows])
    return found


def _mean(weighted: Sequence[tuple[Numbers, float]]) -> Numbers:
    values = [value for value, _ in weighted]
    if all(not isinstance(value, list) for value in values):
        total = sum(rows for _, rows in weighted)
        return float(sum(value * rows for value, rows in weighted) / total)  # type: ignore[operator]
    lengths = {len(value) if isinstance(value, list) else None for value in values}
    if len(lengths) > 1:
        return values[0]
    columns = zip(*values, strict=True)  # type: ignore[arg-type]
    rows = [rows for _, rows in weighted]
    return [_mean(list(zip(column, rows, strict=True))) for column in columns]


def numbers(value: Any) -> Numbers | None:
    """Return a metric's value as a number or as lists of numbers, ``None`` for anything else."""
    try:
        value = value.numpy() if hasattr(value, "numpy") else value
        value = value.tolist() if hasattr(value, "tolist") else value
        if isinstance(value, list | tuple):
            inner = [numbers(one) for one in value]
            return None if None in inner else inner
        return float(value)
    except (TypeError, ValueError):
        return None


def _rows_seen(model: Any) -> float | None:
    """Return how many rows a model's loss is the mean of; ``None`` where Keras does not count."""
    tracker = getattr(model, "_loss_tracker", None)  # Keras 3
    if tracker is None:
        tracker = getattr(getattr(model, "compiled_loss", None), "_loss_metric", None)
    count = numbers(getattr(tracker, "count", None))
    return count if isinstance(count, float) and count > 0 else None


def _gathered(value: Any, what: str) -> list[Any]:
    import horovod.tensorflow as hvd

    ranks: list[Any] = hvd.allgather_object(value, name=f"sparkdl.collective.{what}")
    return ranks


def _is_one_of(callback: Any, names: set[str]) -> bool:
    return any(kind.__name__ in names for kind in type(callback).__mro__)


def _may_stop_at_a_batch(callback: Any) -> bool:
    """Tell whether a callback looks at batches and might stop training there."""
    if _is_one_of(callback, _HARMLESS) or type(callback).__module__.startswith("horovod."):
        return False
    hooks = ("on_train_batch_end", "on_batch_end")
    base = next((kind for kind in type(callback).__mro__ if kind.__name__ == "Callback"), object)
    return any(getattr(type(callback), one, None) is not getattr(base, one, None) for one in hooks)
