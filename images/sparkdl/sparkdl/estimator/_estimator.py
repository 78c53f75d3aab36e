"""The stage that trains."""
# ruff: noqa: N803 - Spark ML's names are in camel case

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pyspark import keyword_only
from pyspark.ml import Estimator
from pyspark.ml.util import MLReadable, MLWritable

from sparkdl import HorovodRunner
from sparkdl.data import DataError
from sparkdl.data._columns import Column, described, narrows, require_spark
from sparkdl.data._frame import written
from sparkdl.estimator import _train
from sparkdl.estimator._model import KerasModel, fitted
from sparkdl.estimator._packed import PackedModel
from sparkdl.estimator._params import TrainingParams
from sparkdl.estimator._save import StageReader, StageWriter


class KerasEstimator(Estimator, TrainingParams, MLReadable, MLWritable):
    """Trains a compiled Keras model on a DataFrame, on ``np`` ranks through ``HorovodRunner``.

    ``model`` is built and compiled as for one machine; training starts from its weights.
    ``fit(df)`` returns a ``KerasModel``. The columns are written once to ``sharedDirectory``
    (see ``sparkdl.data.shard_dataframe``), and deleted when training is over or has failed.
    """

    @keyword_only
    def __init__(
        self,
        *,
        model: Any = None,
        inputCols: Sequence[str] = ("features",),
        labelCol: str = "label",
        predictionCol: str = "prediction",
        probabilityCol: str = "probability",
        rawPredictionCol: str = "rawPrediction",
        weightCol: str | None = None,
        np: int = 1,
        epochs: int = 1,
        batchSize: int = 32,
        validationSplit: float = 0.0,
        validationCol: str | None = None,
        shuffle: bool = True,
        seed: int = 0,
        lastBatch: str = "drop",
        sharedDirectory: str | None = None,
        customObjects: Mapping[str, Any] | None = None,
        callbacks: Callable[[], list[Any]] | None = None,
        runnerOptions: Mapping[str, Any] | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        given = self._input_kwargs
        self._set(**{name: value for name, value in given.items() if value is not None})

    def _fit(self, dataset: Any) -> KerasModel:
        ranks = self._value("np")
        if not ranks:
            raise ValueError("np must not be 0: say how many ranks there are to be")
        inputs, label, weight = (
            self.getInputCols(),
            self._value("labelCol"),
            self._value("weightCol"),
        )
        require_spark(dataset)
        packed = self._packed_model()
        options = _with_keras(packed, self._value("runnerOptions"))
        runner = HorovodRunner(np=ranks).options(**options)
        objects = packed.named(self._objects())
        rows = written(
            dataset,
            self._columns(dataset, packed),
            directory=self._value("sharedDirectory"),
            validation=self._value("validationCol") or self._value("validationSplit"),
            seed=self._value("seed"),
            instead="give the model inputs of dtype float64",
        )
        with rows:
            job = _train.Job(
                packed=packed,
                objects=objects,
                callbacks=self._value("callbacks"),
                rows=rows,
                inputs=tuple(inputs),
                label=label,
                weight=weight,
                epochs=self._value("epochs"),
                batch_size=self.getBatchSize(),
                shuffle=self._value("shuffle"),
                seed=self._value("seed"),
                last=self._value("lastBatch"),
                verbose=self._value("verbose"),
                resumable=bool(options.get("max_restarts") or options.get("resume_from")),
            )
            _require_enough(job, abs(ranks))
            trained = runner.run(_train.train, job=job)
        return fitted(self, trained, objects)

    def _columns(self, dataset: Any, packed: PackedModel) -> list[Column]:
        """Return what to write: the inputs as the model takes them, and what the loss takes.

        A loss is computed in floating-point numbers, also from a label that is none.
        """
        inputs, weight = self.getInputCols(), self._value("weightCol")
        others = [self._value("labelCol"), *([] if weight is None else [weight])]
        dtypes = packed.input_dtypes(inputs)
        floats = "float64" if set(dtypes.values()) == {"float64"} else "float32"
        columns = described(dataset.schema, [*inputs, *others], floats, dtypes)
        return [
            replace(column, narrowed=floats)
            if column.name in others and narrows(column.dtype, floats)
            else column
            for column in columns
        ]

    def write(self) -> StageWriter:
        """Return a writer; ``estimator.save(path)`` is the short form."""
        return StageWriter(self, {})

    @classmethod
    def read(cls) -> StageReader:
        """Return a reader; ``KerasEstimator.load(path)`` is the short form."""
        return StageReader(cls)

    def _restore(self, metadata: dict[str, Any]) -> None:
        """Nothing beyond the parameters was saved."""


def _with_keras(packed: PackedModel, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the runner's options, with the ranks told which Keras is TensorFlow's."""
    if packed.package != "tf_keras":
        return dict(options)
    environment = {**options.get("environment", {}), "TF_USE_LEGACY_KERAS": "1"}
    return {**options, "environment": environment}


def _require_enough(job: _train.Job, ranks: int) -> None:
    """Raise here, before any rank starts, if there are too few rows for so many ranks."""
    job.shard(0, ranks)
    try:
        job.held(0, ranks)
    except DataError as error:
        raise DataError(f"validation: {error}") from None
