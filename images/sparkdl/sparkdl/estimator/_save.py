"""Stages on disk: metadata as Spark ML writes them, the model as a ``.keras`` file beside them.

Anything Hadoop can write to will do. ``model.keras`` can be loaded by Keras alone.
"""

import tempfile
from pathlib import Path
from typing import Any

from pyspark.ml.util import DefaultParamsReader, DefaultParamsWriter, MLReader, MLWriter

from sparkdl.data._errors import DataError
from sparkdl.estimator._packed import PackedModel
from sparkdl.estimator._params import UNWRITABLE, pickled, unpickled

_MODEL = "model.keras"


class StageWriter(MLWriter):
    """Writes an estimator or a model; ``extra`` are further metadata."""

    def __init__(self, stage: Any, extra: dict[str, Any]) -> None:
        super().__init__()
        self._stage, self._extra = stage, extra

    def saveImpl(self, path: str) -> None:  # noqa: N802 - Spark ML's name
        """Write the stage into a new directory."""
        stage, spark = self._stage, self.sparkSession
        packed = stage._value("model")
        params = {
            param.name: value
            for param, value in stage._paramMap.items()
            if param.name not in UNWRITABLE
        }
        extra = {
            **self._extra,
            "kerasPackage": None if packed is None else packed.package,
            "objects": pickled(stage, UNWRITABLE[1:]),
        }
        DefaultParamsWriter.saveMetadata(
            stage, path, spark.sparkContext, extraMetadata=extra, paramMap=params
        )
        _require_seen(spark, path)
        if packed is not None:
            _upload(spark, packed.data, f"{path}/{_MODEL}")


class StageReader(MLReader):
    """Reads what ``StageWriter`` wrote."""

    def __init__(self, kind: type) -> None:
        super().__init__()
        self._kind = kind

    def load(self, path: str) -> Any:
        """Return the stage that was saved at ``path``."""
        spark = self.sparkSession
        name = f"{self._kind.__module__}.{self._kind.__name__}"
        metadata = DefaultParamsReader.loadMetadata(path, spark.sparkContext, name)
        stage = self._kind()
        stage._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(stage, metadata)
        stage._set(**unpickled(metadata["objects"]))
        if metadata["kerasPackage"] is not None:
            data = _downloaded(spark, f"{path}/{_MODEL}")
            stage._set(model=PackedModel(package=metadata["kerasPackage"], data=data))
        stage._restore(metadata)
        return stage


def _require_seen(spark: Any, path: str) -> None:
    """Raise ``DataError`` unless the driver sees the metadata, which an executor has written."""
    files, folder = _hadoop(spark, f"{path}/metadata")
    found = files.listStatus(folder) if files.exists(folder) else ()
    if any(one.getPath().getName().startswith("part-") for one in found):
        return
    files.delete(_path(spark, path), True)
    raise DataError(
        f"{path} is not shared: an executor wrote the stage's metadata there, and the driver does "
        "not see them. Save to a path that all machines see (a shared directory, hdfs://, s3a://)."
    )


def _upload(spark: Any, data: bytes, target: str) -> None:
    files, remote = _hadoop(spark, target)
    with tempfile.TemporaryDirectory(prefix="sparkdl-") as directory:
        local = Path(directory) / _MODEL
        local.write_bytes(data)
        files.copyFromLocalFile(False, True, _path(spark, local.as_uri()), remote)


def _downloaded(spark: Any, source: str) -> bytes:
    files, remote = _hadoop(spark, source)
    with tempfile.TemporaryDirectory(prefix="sparkdl-") as directory:
        local = Path(directory) / _MODEL
        # The raw file system: it writes no checksum file beside it.
        files.copyToLocalFile(False, remote, _path(spark, local.as_uri()), True)
        return local.read_bytes()


def _path(spark: Any, text: str) -> Any:
    return spark._jvm.org.apache.hadoop.fs.Path(text)


def _hadoop(spark: Any, text: str) -> tuple[Any, Any]:
    path = _path(spark, text)
    return path.getFileSystem(spark._jsc.hadoopConfiguration()), path
