"""The parameters that estimator and model share."""
# ruff: noqa: N802, N815 - Spark ML's names are in camel case

import base64
from collections.abc import Mapping
from typing import Any

import cloudpickle
from pyspark.ml.param import Param, Params, TypeConverters

from sparkdl.estimator._packed import PackedModel

# They are no JSON: a stage is saved with them in files of their own.
UNWRITABLE = ("model", "customObjects", "callbacks")


def _packed(value: Any) -> PackedModel:
    return value if isinstance(value, PackedModel) else PackedModel.of(value)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"a dictionary by name is expected, not {value!r}")
    return dict(value)


def _name_or_none(value: Any) -> str | None:
    return None if value is None else TypeConverters.toString(value)


class KerasParams(Params):
    """``inputCols``, ``predictionCol``, ``batchSize``, ``model`` and ``customObjects``."""

    inputCols: Param = Param(
        Params._dummy(),
        "inputCols",
        "the columns the model takes: one, or one per input and named like it",
        TypeConverters.toListString,
    )
    predictionCol: Param = Param(
        Params._dummy(), "predictionCol", "the column of predictions", TypeConverters.toString
    )
    probabilityCol: Param = Param(
        Params._dummy(),
        "probabilityCol",
        "the column of the classes' probabilities; '' for none",
        TypeConverters.toString,
    )
    rawPredictionCol: Param = Param(
        Params._dummy(),
        "rawPredictionCol",
        "the column of what the model gives for each class; '' for none",
        TypeConverters.toString,
    )
    batchSize: Param = Param(
        Params._dummy(), "batchSize", "rows of a batch, on each rank", TypeConverters.toInt
    )
    model: Param = Param(Params._dummy(), "model", "a compiled Keras model", _packed)
    customObjects: Param = Param(
        Params._dummy(),
        "customObjects",
        "the model's own classes and functions by name; they travel by cloudpickle",
        _mapping,
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(
            inputCols=["features"],
            predictionCol="prediction",
            probabilityCol="probability",
            rawPredictionCol="rawPrediction",
            batchSize=32,
        )

    def getInputCols(self) -> list[str]:
        """Return ``inputCols``."""
        return list(self.getOrDefault(self.inputCols))

    def getPredictionCol(self) -> str:
        """Return ``predictionCol``."""
        return str(self.getOrDefault(self.predictionCol))

    def getBatchSize(self) -> int:
        """Return ``batchSize``."""
        return int(self.getOrDefault(self.batchSize))

    def _value(self, name: str) -> Any:
        """Return a parameter's value, ``None`` when it has none."""
        param = self.getParam(name)
        return self.getOrDefault(param) if self.isDefined(param) else None

    def _packed_model(self) -> PackedModel:
        packed = self._value("model")
        if packed is None:
            raise ValueError(f"{type(self).__name__} has no model: give it one with model=…")
        return packed

    def _objects(self) -> dict[str, Any]:
        return self._value("customObjects") or {}


class TrainingParams(KerasParams):
    """What only the estimator needs."""

    labelCol: Param = Param(
        Params._dummy(), "labelCol", "the column to be predicted", TypeConverters.toString
    )
    weightCol: Param = Param(
        Params._dummy(), "weightCol", "the column of the rows' weights, if any", _name_or_none
    )
    np: Param = Param(
        Params._dummy(), "np", "the number of ranks, as for HorovodRunner", TypeConverters.toInt
    )
    epochs: Param = Param(
        Params._dummy(), "epochs", "how often all rows are seen", TypeConverters.toInt
    )
    validationSplit: Param = Param(
        Params._dummy(),
        "validationSplit",
        "the share of rows held back to validate with",
        TypeConverters.toFloat,
    )
    validationCol: Param = Param(
        Params._dummy(),
        "validationCol",
        "a boolean column that tells the rows to validate with, instead of validationSplit",
        _name_or_none,
    )
    shuffle: Param = Param(
        Params._dummy(), "shuffle", "shuffle the rows in every epoch", TypeConverters.toBoolean
    )
    seed: Param = Param(
        Params._dummy(), "seed", "of the shuffles and the validation split", TypeConverters.toInt
    )
    lastBatch: Param = Param(
        Params._dummy(),
        "lastBatch",
        "rows that do not fill a step on every rank: 'drop', 'wrap' or 'keep'",
        TypeConverters.toString,
    )
    sharedDirectory: Param = Param(
        Params._dummy(),
        "sharedDirectory",
        "a directory that all machines see, for the rows while training lasts",
        _name_or_none,
    )
    callbacks: Param = Param(
        Params._dummy(),
        "callbacks",
        "a function without arguments that returns Keras callbacks, called on every rank",
    )
    runnerOptions: Param = Param(
        Params._dummy(), "runnerOptions", "options of HorovodRunner by name", _mapping
    )
    verbose: Param = Param(
        Params._dummy(),
        "verbose",
        "1 shows every epoch's metrics on the driver, 2 every batch's",
        TypeConverters.toInt,
    )

    def __init__(self) -> None:
        super().__init__()
        self._setDefault(
            labelCol="label",
            weightCol=None,
            np=1,
            epochs=1,
            validationSplit=0.0,
            validationCol=None,
            shuffle=True,
            seed=0,
            lastBatch="drop",
            sharedDirectory=None,
            runnerOptions={},
            verbose=0,
        )


def pickled(params: Params, names: tuple[str, ...]) -> str | None:
    """Return the set ones of some parameters as text, ``None`` when none is set."""
    values = {
        name: params.getOrDefault(name)
        for name in names
        if params.hasParam(name) and params.isDefined(params.getParam(name))
    }
    return base64.b64encode(cloudpickle.dumps(values)).decode() if values else None


def unpickled(text: str | None) -> dict[str, Any]:
    """Return what ``pickled`` was given."""
    return cloudpickle.loads(base64.b64decode(text)) if text else {}
