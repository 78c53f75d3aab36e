"""Predictions in Spark's Python workers, each of which loads the model once."""

import hashlib
import os
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sparkdl.data._columns import Column
from sparkdl.data._errors import DataError
from sparkdl.data._narrow import UnfitError, noted
from sparkdl.estimator._scores import Scores

# A worker serves many tasks, and a pipeline may have more than one model.
_KEPT = 2
_loaded: OrderedDict[tuple[str, str], Any] = OrderedDict()


def predictor(broadcast: Any, columns: Sequence[Column], scores: Scores, batch_size: int) -> Any:
    """Return a pandas function from the columns' values to predictions.

    The last column it takes is the number of the column that is null, or -1: pandas has one value
    for nulls and for NaN.
    """
    import pandas as pd

    names = [column.name for column in columns]

    def predict(parts: Iterator[tuple[pd.Series, ...]]) -> Iterator[Any]:
        # By its name, so that the worker's own module keeps the model and not this function.
        from sparkdl.estimator import _predict

        for part in parts:
            _predict.require_no_nulls(names, part[-1])
            series = dict(zip(names, part[:-1], strict=True))
            yield _predict.predicted(broadcast, columns, series, scores, batch_size)

    # Spark reads there what it gets.
    kind = pd.DataFrame if scores.classes else pd.Series
    predict.__annotations__["return"] = Iterator[kind]  # type: ignore[valid-type]
    return predict


def predicted(
    broadcast: Any,
    columns: Sequence[Column],
    series: Mapping[str, Any],
    scores: Scores,
    batch_size: int,
) -> Any:
    """Return the predictions for some rows: a series, or a frame where they are of classes."""
    import pandas as pd

    if not len(next(iter(series.values()))):
        return pd.DataFrame(columns=_FIELDS) if scores.classes else pd.Series([], dtype=object)
    values = {column.name: _values(series[column.name], column) for column in columns}
    features = next(iter(values.values())) if len(values) == 1 else values
    answers = _model(broadcast).predict(features, batch_size=batch_size, verbose=0)
    if scores.classes:
        found = scores.columns(answers)
        return pd.DataFrame({name: list(found[name]) for name in _FIELDS})
    if scores.width is None:
        return pd.Series(answers.reshape(-1).astype("float64"))
    return pd.Series(list(answers.reshape(-1, scores.width)))


_FIELDS = ("raw", "probability", "prediction")


def require_no_nulls(names: Sequence[str], which: Any) -> None:
    """Raise ``DataError`` if a row has a null."""
    null = which[which >= 0]
    if len(null):
        raise DataError(
            f"column {names[int(null.iloc[0])]!r} has nulls: there is no prediction for them. Fill "
            "or drop them first (df.fillna(…), df.dropna(…))"
        )


def _values(series: Any, column: Column) -> Any:
    """Return one column's rows as an array."""
    import numpy as np

    if series.dtype != object:
        values = series.to_numpy()
    else:
        try:
            values = np.stack([_stacked(value) for value in series])
        except (TypeError, ValueError):
            raise DataError(f"column {column.name!r} has arrays of different lengths") from None
    if column.narrowed is not None:
        try:
            noted(values.reshape(-1), column)
        except UnfitError as error:
            raise DataError(str(error)) from None
    return values.astype(column.dtype)


def _stacked(value: Any) -> Any:
    """Return arrays of arrays, as Arrow hands them over, as one array."""
    import numpy as np

    value = np.asarray(value)
    return np.stack([_stacked(one) for one in value]) if value.dtype == object else value


def _model(broadcast: Any) -> Any:
    """Return the model, from this worker's own memory if it has been here before."""
    digest, packed, objects = broadcast.value
    # The same weights are another model with other custom objects of the same names.
    key = digest, hashlib.sha256(objects).hexdigest()
    if key in _loaded:
        _loaded.move_to_end(key)
        return _loaded[key]
    _limit_threads()
    _take_gpu()
    import cloudpickle

    _loaded[key] = packed.model(cloudpickle.loads(objects), compiled=False)
    while len(_loaded) > _KEPT:
        _loaded.popitem(last=False)
    return _loaded[key]


def _take_gpu() -> None:
    """Let TensorFlow see the GPU of this task alone, and take of it only what the model needs.

    There is a worker for every task slot; TensorFlow would take all memory of every GPU. A worker
    stays with the GPU of its first task.
    """
    from pyspark import TaskContext

    context = TaskContext.get()
    own = context.resources().get("gpu") if context is not None else None
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    if own is not None and "tensorflow" not in sys.modules:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(own.addresses)


def _limit_threads() -> None:
    """Let TensorFlow use the cores of one task, for there is a worker for every task slot."""
    from pyspark import TaskContext

    cores = os.environ.get("OMP_NUM_THREADS") or str(TaskContext.get().cpus())
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, cores)
