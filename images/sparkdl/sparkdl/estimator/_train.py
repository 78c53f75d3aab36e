"""What every rank does for ``KerasEstimator.fit``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sparkdl.data import DataError, Shard, ShardedData
from sparkdl.estimator._packed import PackedModel


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
    """What rank 0 returns. ``width``: numbers the model gives for a row; ``None``: one number."""

    packed: PackedModel
    history: dict[str, list[float]]
    width: int | None


def train(job: Job) -> Trained:
    """Train on this rank's rows together with all others."""
    keras = job.packed.keras()
    import horovod.tensorflow.keras as hvd
    from horovod.tensorflow import allgather_object

    hvd.init()
    shard, held = job.shard(hvd.rank(), hvd.size()), job.held(hvd.rank(), hvd.size())
    model = job.packed.model(job.objects, compiled=False)
    width = _output_width(model, job, shard)
    arguments = job.packed.compile_arguments(job.objects)
    arguments["optimizer"] = hvd.DistributedOptimizer(arguments["optimizer"])
    with keras.saving.custom_object_scope(dict(job.objects)):
        model.compile(**arguments)
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
    _require_same_weights(model, allgather_object)
    everyone = allgather_object(
        {name: [float(value) for value in values] for name, values in history.items()}
    )
    weights = model.get_weights()
    return Trained(
        packed=job.packed.with_weights(weights, job.objects) if hvd.rank() == 0 else job.packed,
        history=_averaged(everyone),
        width=width,
    )


def _callbacks(job: Job, model: Any) -> tuple[list[Any], int]:
    """Return the callbacks, and the epoch to begin with: not 0 in a run that starts again."""
    from sparkdl.horovod.tensorflow.keras import CheckpointCallback, LogCallback

    callbacks = job.callbacks() if job.callbacks is not None else []
    if job.verbose:
        callbacks = [*callbacks, LogCallback(per_batch_log=job.verbose > 1)]
    if not job.resumable:
        return callbacks, 0
    saver = CheckpointCallback(model)
    return [*callbacks, saver], saver.first_epoch


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


def _require_same_weights(model: Any, gather: Callable[[Any], list[Any]]) -> None:
    """Raise unless all ranks trained one model: gradients that were not reduced go unnoticed."""
    import numpy as np

    own = [
        moment
        for variable in model.trainable_variables
        for value in [np.asarray(variable.numpy(), "float64")]
        for moment in (value.sum(), np.square(value).sum())
    ]
    ranks = gather(own)
    for rank, moments in enumerate(ranks):
        if not np.allclose(moments, ranks[0], rtol=1e-3, atol=1e-5, equal_nan=True):
            raise RuntimeError(
                f"rank {rank} ended with other weights than rank 0: Horovod did not reduce the "
                "gradients, so this Horovod does not go with this Keras"
            )


def _averaged(histories: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    return {
        name: [
            sum(values) / len(values)
            for values in zip(*(history[name] for history in histories), strict=True)
        ]
        for name in histories[0]
    }
