"""What every rank does for ``KerasEstimator.fit``."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparkdl.data import DataError, Shard, ShardedData
from sparkdl.estimator._packed import PackedModel
from sparkdl.estimator._scores import Scores

# How far apart ranks may be, as a share of how far training has moved the weights.
_ROUNDING = 1e-2


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training; travels to the ranks. ``rows`` is the data, ``batch_size`` a rank's."""

    packed: PackedModel
    objects: Mapping[str, Any]
    callbacks: Callable[[], list[Any]] | None
    rows: ShardedData
    inputs: tuple[str, ...]
    label: str
    weight: str | None
    epochs: int
    batch_size: int
    shuffle: bool
    seed: int
    last: str
    verbose: int
    resumable: bool

    def shard(self, rank: int, size: int) -> Shard:
        """Return a rank's training rows."""
        return self.rows.shard(
            rank,
            size,
            batch_size=self.batch_size,
            shuffle=self.shuffle,
            seed=self.seed,
            last=self.last,
        )

    def held(self, rank: int, size: int) -> Shard | None:
        """Return a rank's validation rows, of which none is left out or comes twice."""
        if self.rows.validation is None:
            return None
        # Batches of 1 row cannot be evened out among ranks.
        batch = max(2, self.batch_size)
        return self.rows.validation.shard(rank, size, batch_size=batch, shuffle=False, last="keep")

    def dataset(self, shard: Shard, epochs: int | None, first_epoch: int = 0) -> Any:
        """Return a shard as Keras takes it: one input as it is, several by their names."""
        features = self.inputs[0] if len(self.inputs) == 1 else list(self.inputs)
        return shard.dataset(
            features, self.label, weight=self.weight, epochs=epochs, first_epoch=first_epoch
        )


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What rank 0 returns."""

    packed: PackedModel
    history: dict[str, list[Any]]
    scores: Scores


def train(job: Job) -> Trained:
    """Train on this rank's rows together with all others."""
    keras = job.packed.keras()
    import horovod.tensorflow.keras as hvd

    from sparkdl.horovod.tensorflow._optimizer import set_state, state_of

    hvd.init()
    shard, held = job.shard(hvd.rank(), hvd.size()), job.held(hvd.rank(), hvd.size())
    model = job.packed.model(job.objects, compiled=True)
    width = _output_width(model, job, shard)
    began = state_of(model)
    arguments = job.packed.compile_arguments(job.objects)
    scores = Scores.of(width, arguments.get("loss"))
    optimizer = keras.optimizers.get(arguments["optimizer"])
    arguments["optimizer"] = hvd.DistributedOptimizer(optimizer)
    with keras.saving.custom_object_scope(dict(job.objects)):
        model.compile(**arguments)
    set_state(model, began)
    before = _trained(model)
    callbacks, first_epoch = _callbacks(job, model)
    history = model.fit(
        job.dataset(shard, job.epochs, first_epoch),
        epochs=job.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=shard.steps,
        validation_data=None if held is None else job.dataset(held, None),
        validation_steps=None if held is None else held.steps,
        callbacks=callbacks,
        verbose=0,
    ).history
    require_same_weights(_trained(model), before)
    packed = job.packed
    if hvd.rank() == 0:
        packed = packed.with_state(model.get_weights(), state_of(model), job.objects)
    return Trained(packed=packed, history=_together(history), scores=scores)


def _callbacks(job: Job, model: Any) -> tuple[list[Any], int]:
    """Return the callbacks, and the epoch to begin with: not 0 in a run that starts again."""
    from sparkdl.horovod.tensorflow.keras import (
        CheckpointCallback,
        LogCallback,
        collective_callbacks,
    )

    callbacks = job.callbacks() if job.callbacks is not None else []
    if job.verbose:
        callbacks = [*callbacks, LogCallback(per_batch_log=job.verbose > 1)]
    first_epoch = 0
    if job.resumable:
        saver = CheckpointCallback(model)
        callbacks, first_epoch = [*callbacks, saver], saver.first_epoch
    return collective_callbacks(callbacks), first_epoch


def _trained(model: Any) -> list[Any]:
    """Return the weights that gradients change: others, such as moving averages, are a rank's."""
    return [variable.numpy() for variable in model.trainable_variables]


def _together(history: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return what of all ranks' histories is numbers, or lists of them: it is saved as JSON.

    Keras' own metrics are the same on all ranks by now; others, and those that a rank alone has,
    are averaged over the ranks that have them.
    """
    import horovod.tensorflow as hvd

    from sparkdl.horovod.tensorflow._collective import averaged, numbers

    own = {name: numbers(values) for name, values in history.items()}
    lists = {name: values for name, values in own.items() if isinstance(values, list)}
    everyone = hvd.allgather_object(lists, name="sparkdl.history")
    whole = averaged([(one, None, None) for one in everyone])
    return {name: values for name, values in whole.items() if isinstance(values, list)}


def _output_width(model: Any, job: Job, shard: Shard) -> int | None:
    """Return how many numbers the model gives for a row, having asked it."""
    rows = next(iter(shard.batches(0)))
    features = {name: rows[name] for name in job.inputs}
    answer = model(features[job.inputs[0]] if len(job.inputs) == 1 else features, training=False)
    shape = getattr(answer, "shape", None)
    if shape is None or len(shape) > 2:
        what = "several outputs" if shape is None else f"an output of shape {tuple(shape)[1:]}"
        raise DataError(f"the model has {what}: only one number or one vector per row can be used")
    return None if len(shape) == 1 or shape[1] == 1 else int(shape[1])


def require_same_weights(weights: Sequence[Any], before: Sequence[Any]) -> None:
    """Raise ``RuntimeError`` unless all ranks trained one model: a missed reduction is silent.

    Every rank calls it. Weights that differ in their last digits, as on processors of different
    kinds, are the same; how much that is, is measured by how far training has moved them from
    ``before``.
    """
    import horovod.tensorflow as hvd
    import numpy as np

    digest = hashlib.sha256(b"".join(np.ascontiguousarray(one).tobytes() for one in weights))
    digests = hvd.allgather_object(digest.hexdigest(), name="sparkdl.weights.digest")
    if len(set(digests)) == 1:
        return

    def square(one: Sequence[Any], other: Sequence[Any]) -> float:
        """Return the squared distance; what has become infinite on one is so on all."""
        pairs = (map(np.nan_to_num, pair) for pair in zip(one, other, strict=True))
        return sum(float(np.square(np.subtract(a, b, dtype="float64")).sum()) for a, b in pairs)

    theirs = hvd.broadcast_object(list(weights), root_rank=0, name="sparkdl.weights.first")
    moved, apart = square(theirs, before), square(weights, theirs)
    for rank, (one, other) in enumerate(hvd.allgather_object((apart, moved), name="sparkdl.apart")):
        if not one <= other * _ROUNDING**2:
            raise RuntimeError(
                f"rank {rank} ended with other weights than rank 0: Horovod did not reduce the "
                "gradients, so this Horovod does not go with this Keras"
            )
