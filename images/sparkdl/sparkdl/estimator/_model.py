"""The fitted stage: predicts on the executors."""

from typing import Any

import cloudpickle
from pyspark.ml import Model
from pyspark.ml.util import MLReadable, MLWritable

from sparkdl.data._columns import as_arrays, described
from sparkdl.estimator._params import KerasParams
from sparkdl.estimator._predict import predictor
from sparkdl.estimator._save import StageReader, StageWriter
from sparkdl.estimator._train import Trained


class KerasModel(Model, KerasParams, MLReadable, MLWritable):
    """A trained Keras model as a stage of a Spark ML pipeline.

    ``transform`` adds ``predictionCol``: a double where the model gives one number for a row,
    else an array of floats. ``history`` has the metrics of each epoch, averaged over the ranks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self._width: int | None = None

    def to_keras(self) -> Any:
        """Return the trained Keras model, compiled as the one that was given to ``fit``."""
        return self._packed_model().model(self._objects(), compiled=True)

    def _transform(self, dataset: Any) -> Any:
        from pyspark.sql.functions import pandas_udf

        names = self.getInputCols()
        columns = described(dataset.schema, names, "float32")
        packed = self._packed_model()
        value = (packed.digest, packed, cloudpickle.dumps(self._objects()))
        broadcast = dataset.sparkSession.sparkContext.broadcast(value)
        returned = "double" if self._width is None else "array<float>"
        function = predictor(broadcast, columns, self._width, self.getBatchSize())
        predict = pandas_udf(function, returned)
        return dataset.withColumn(self.getPredictionCol(), predict(*as_arrays(dataset, names)))

    def write(self) -> StageWriter:
        """Return a writer; ``model.save(path)`` is the short form."""
        return StageWriter(self, {"history": self.history, "width": self._width})

    @classmethod
    def read(cls) -> StageReader:
        """Return a reader; ``KerasModel.load(path)`` is the short form."""
        return StageReader(cls)

    def _restore(self, metadata: dict[str, Any]) -> None:
        self.history, self._width = metadata["history"], metadata["width"]


def fitted(estimator: KerasParams, trained: Trained, objects: dict[str, Any]) -> KerasModel:
    """Return the model that an estimator has trained."""
    model = KerasModel()
    model._resetUid(estimator.uid.replace("KerasEstimator", "KerasModel"))
    model.history, model._width = trained.history, trained.width
    estimator._copyValues(model)
    return model._set(model=trained.packed, customObjects=objects)
