"""Predictions in Spark's Python workers, each of which loads the model once."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sparkdl.data._columns import Column
from sparkdl.data._errors import DataError

# A worker serves many tasks, and a pipeline may have more than one model.
_KEPT = 2
_loaded: OrderedDict[str, Any] = OrderedDict()


def predictor(broadcast: Any, columns: Sequence[Column], width: int | None, batch_size: int) -> Any:
    """Return a pandas function from the columns' values to predictions."""
    import pandas as pd

    names = [column.name for column in columns]

    def predict(parts: Iterator[tuple[pd.Series, ...]]) -> Iterator[pd.Series]:
        # By its name, so that the worker's own module keeps the model and not this function.
        from sparkdl.estimator import _predict

        for part in parts:
            # Spark hands over a single column as it is.
            series = dict(zip(names, part if isinstance(part, tuple) else (part,), strict=True))
            yield pd.Series(_predict.predicted(broadcast, columns, series, width, batch_size))

    return predict


def predicted(
    broadcast: Any,
    columns: Sequence[Column],
    series: Mapping[str, Any],
    width: int | None,
    batch_size: int,
) -> list[Any]:
    """Return the predictions for some rows."""
    if not len(next(iter(series.values()))):
        return []
    values = {column.name: _values(series[column.name], column) for column in columns}
    features = next(iter(values.values())) if len(values) == 1 else values
    scores = _model(broadcast).predict(features, batch_size=batch_size, verbose=0)
    if width is None:
        return [float(score) for score in scores.reshape(-1)]
    return list(scores.reshape(-1, width))


def _values(series: Any, column: Column) -> Any:
    """Return one column's rows as an array."""
    import numpy as np

    if series.isna().any():
        raise DataError(f"column {column.name!r} has nulls: there is no prediction for them")
    if series.dtype != object:
        return series.to_numpy(column.dtype)
    try:
        return np.stack([_stacked(value) for value in series]).astype(column.dtype)
    except (TypeError, ValueError):
        raise DataError(f"column {column.name!r} has arrays of different lengths") from None


def _stacked(value: Any) -> Any:
    """Return arrays of arrays, as Arrow hands them over, as one array."""
    import numpy as np

    value = np.asarray(value)
    return np.stack([_stacked(one) for one in value]) if value.dtype == object else value


def _model(broadcast: Any) -> Any:
    """Return the model, from this worker's own memory if it has been here before."""
    digest, packed, objects = broadcast.value
    if digest in _loaded:
        _loaded.move_to_end(digest)
        return _loaded[digest]
    _limit_threads()
    import cloudpickle

    _loaded[digest] = packed.model(cloudpickle.loads(objects), compiled=False)
    while len(_loaded) > _KEPT:
        _loaded.popitem(last=False)
    return _loaded[digest]


def _limit_threads() -> None:
    """Let TensorFlow use the cores of one task, for there is a worker for every task slot."""
    import os

    from pyspark import TaskContext

    cores = os.environ.get("OMP_NUM_THREADS") or str(TaskContext.get().cpus())
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, cores)
