"""The fitted stage: predicts on the executors."""
# ruff: noqa: N802 - Spark ML's names are in camel case

import math
from collections.abc import Sequence
from typing import Any

import cloudpickle
from pyspark.ml import Model
from pyspark.ml.util import MLReadable, MLWritable

from sparkdl.data._columns import as_arrays, described, quoted, require_spark
from sparkdl.estimator._params import KerasParams
from sparkdl.estimator._predict import predictor
from sparkdl.estimator._save import StageReader, StageWriter
from sparkdl.estimator._scores import Scores
from sparkdl.estimator._train import Trained

_CLASSES = "struct<raw: array<double>, probability: array<double>, prediction: double>"
_ANSWER = "__sparkdl_answer"


class KerasModel(Model, KerasParams, MLReadable, MLWritable):
    """A trained Keras model as a stage of a Spark ML pipeline.

    ``transform`` adds ``predictionCol``: the most probable class, a double, where the model was
    trained with a loss for classes; else a double where it gives one number for a row, and an
    array of floats where it gives several. With classes it also adds the vectors
    ``rawPredictionCol`` and ``probabilityCol``, as Spark ML's own classifiers do. ``history`` has
    the metrics of each epoch, averaged over the ranks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self._scores = Scores(width=None)

    @property
    def numClasses(self) -> int:
        """Return the number of classes, 0 for a model that does not tell classes apart."""
        return self._scores.classes

    def to_keras(self) -> Any:
        """Return the trained Keras model, compiled as the one that was given to ``fit``.

        Its optimizer has the state that training has left, so that ``fit`` goes on from there.
        """
        return self._packed_model().model(self._objects(), compiled=True)

    def _transform(self, dataset: Any) -> Any:
        from pyspark.ml.functions import array_to_vector
        from pyspark.sql.functions import pandas_udf

        require_spark(dataset)
        names = self.getInputCols()
        packed = self._packed_model()
        columns = described(dataset.schema, names, "float32", packed.input_dtypes(names))
        value = (packed.digest, packed, cloudpickle.dumps(self._objects()))
        broadcast = dataset.sparkSession.sparkContext.broadcast(value)
        function = predictor(broadcast, columns, self._scores, self.getBatchSize())
        given = [*as_arrays(dataset, names), _first_null(dataset, names)]
        prediction = self.getPredictionCol()
        if not self._scores.classes:
            returned = "double" if self._scores.width is None else "array<float>"
            answer = pandas_udf(function, returned)(*given)
            return dataset.withColumn(prediction, _with_nan(answer, returned))
        # Spark would call a deterministic function once for each field that is taken of it.
        classify = pandas_udf(function, _CLASSES).asNondeterministic()
        answered = dataset.withColumn(_ANSWER, classify(*given))
        answer = answered[_ANSWER]
        raw, probability = (
            array_to_vector(_with_nan(answer[name], "array<double>"))
            for name in ("raw", "probability")
        )
        fields = {
            self._value("rawPredictionCol"): raw,
            self._value("probabilityCol"): probability,
            prediction: _with_nan(answer["prediction"], "double"),
        }
        added = {name: column for name, column in fields.items() if name}
        return answered.withColumns(added).drop(_ANSWER)

    def write(self) -> StageWriter:
        """Return a writer; ``model.save(path)`` is the short form."""
        return StageWriter(self, {"history": self.history, "scores": self._scores.as_json()})

    @classmethod
    def read(cls) -> StageReader:
        """Return a reader; ``KerasModel.load(path)`` is the short form."""
        return StageReader(cls)

    def _restore(self, metadata: dict[str, Any]) -> None:
        # Before there were scores, a model had a width.
        scores = metadata.get("scores") or {"width": metadata.get("width")}
        self.history, self._scores = metadata["history"], Scores(**scores)


def fitted(estimator: KerasParams, trained: Trained, objects: dict[str, Any]) -> KerasModel:
    """Return the model that an estimator has trained."""
    model = KerasModel()
    model._resetUid(estimator.uid.replace("KerasEstimator", "KerasModel"))
    model.history, model._scores = trained.history, trained.scores
    estimator._copyValues(model)
    return model._set(model=trained.packed, customObjects=objects)


def _with_nan(column: Any, kind: str) -> Any:
    """Return a Spark column with NaN where pandas has made nulls of it: a model gives none."""
    from pyspark.sql import functions as f

    if not kind.startswith("array"):
        return f.coalesce(column, f.lit(math.nan).cast(kind))
    inner = kind.removeprefix("array<").removesuffix(">")
    return f.transform(column, lambda one: _with_nan(one, inner))


def _first_null(dataset: Any, names: Sequence[str]) -> Any:
    """Return a Spark column with the place of the first of ``names`` that has a null, or -1."""
    from pyspark.sql import functions as f

    nulls = [
        f.when(_has_null(quoted(dataset, name), dataset.schema[name].dataType), f.lit(i))
        for i, name in enumerate(names)
    ]
    return f.coalesce(*nulls, f.lit(-1))


def _has_null(column: Any, kind: Any) -> Any:
    """Return a Spark column that tells whether a value, or one of its numbers, is null."""
    from pyspark.sql import functions as f

    if kind.typeName() == "array" and kind.containsNull:
        inner = kind.elementType
        return column.isNull() | f.exists(column, lambda one: _has_null(one, inner))
    return column.isNull()
