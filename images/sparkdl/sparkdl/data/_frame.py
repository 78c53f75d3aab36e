"""From a DataFrame to files that every rank can read, and away again."""

import atexit
import contextlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from sparkdl.data import _place
from sparkdl.data._columns import Column, as_arrays, described, is_wide, require_spark
from sparkdl.data._errors import DataError
from sparkdl.data._even import share
from sparkdl.data._narrow import judged
from sparkdl.data._shard import BUFFER_BYTES, Shard
from sparkdl.data._write import REPORT, Writer, columns_from

CHUNK_BYTES = 1 << 20
_FLOATS = (None, "float32", "float64")
_SPLIT = "__sparkdl_held"
_ROWS_AT_ONCE = "spark.sql.execution.arrow.maxRecordsPerBatch"
_WIDE_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of chunks, and the number of rows in each."""

    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ShardedData:
    """A DataFrame's rows in files, ready to be shared out to ranks. Small, and can be pickled.

    Use it in a ``with`` block on the driver: the files are deleted at its end. ``validation``
    has the rows that were held back, if any were.
    """

    directory: str
    columns: tuple[Column, ...]
    files: tuple[File, ...]
    validation: "ShardedData | None" = None

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(sum(file.counts) for file in self.files)

    def shard(
        self,
        rank: int,
        size: int,
        *,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        last: str = "drop",
        buffer_bytes: int = BUFFER_BYTES,
    ) -> Shard:
        """Return the rows of ``rank`` among ``size`` ranks, in batches of ``batch_size``.

        Every rank gets the same number of batches, ``shard.steps``, whatever the DataFrame's
        partitions were: no rank waits in an allreduce for another that has run out of data.
        ``last`` says what happens to rows that do not fill a step on every rank: ``"drop"``
        leaves them out (others in each epoch, when shuffling), ``"wrap"`` repeats rows to fill
        the step, ``"keep"`` makes batches smaller so that each row comes exactly once.

        Shuffling follows ``seed`` and the epoch: all chunks are put in a new order and dealt out
        anew in each epoch, and rows are drawn at random from a buffer of ``buffer_bytes``.
        Raises ``DataError`` when there are too few rows for one step.
        """
        counts = [(file.name, i, rows) for file in self.files for i, rows in enumerate(file.counts)]
        return Shard(
            directory=self.directory,
            columns=self.columns,
            chunks=tuple(counts),
            share=share(self.rows, rank, size, batch_size, last),
            rank=rank,
            seed=seed,
            shuffle=shuffle,
            buffer_rows=max(batch_size, buffer_bytes // max(1, _row_bytes(self.columns))),
        )

    def delete(self) -> None:
        """Delete the files; does nothing when they are gone."""
        _place.delete(self.directory)
        atexit.unregister(self.delete)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.delete()


def shard_dataframe(
    frame: Any,
    columns: str | Sequence[str] | None = None,
    *,
    directory: str | None = None,
    validation: float | str = 0.0,
    seed: int = 0,
    float_dtype: str | None = "float32",
    chunk_bytes: int = CHUNK_BYTES,
) -> ShardedData:
    """Write columns of a DataFrame to a directory that all ranks can read, once.

    Columns are numbers, arrays of numbers of one length, or ML vectors; anything else, and any
    null, is a ``DataError``. ``columns`` are all of the frame's unless given. Floating-point
    columns become ``float_dtype``; ``None`` leaves them as they are. Numbers that are infinite
    in that type, or that it can hardly tell apart, are a ``DataError`` too.

    ``directory`` is one that the driver and every executor see under the same path (NFS, a
    volume); without it the setting ``spark.sparkdl.sharedDirectory`` counts, and with a local
    master the machine's own temporary directory. A new directory is made in it.

    ``validation`` holds rows back: a share of all rows (0.2), drawn with ``seed``, or the name
    of a boolean column. Either part without rows is a ``DataError``.

    The frame is evaluated once. Its rows are written by the executors in chunks of
    ``chunk_bytes``: neither the driver nor an executor ever holds a whole partition.
    """
    if float_dtype not in _FLOATS:
        raise ValueError(f"float_dtype is 'float32', 'float64' or None, not {float_dtype!r}")
    require_spark(frame)
    if columns is None:
        columns = _all_but(frame.columns, validation)
    names = [columns] if isinstance(columns, str) else list(columns)
    return written(
        frame,
        described(frame.schema, names, float_dtype),
        directory=directory,
        validation=validation,
        seed=seed,
        chunk_bytes=chunk_bytes,
        instead="keep them as they are with float_dtype='float64'",
    )


def written(
    frame: Any,
    columns: Sequence[Column],
    *,
    directory: str | None,
    validation: float | str,
    seed: int,
    chunk_bytes: int = CHUNK_BYTES,
    instead: str,
) -> ShardedData:
    """Write ``columns`` of a Spark DataFrame; ``instead`` says how not to make them narrower."""
    spark = frame.sparkSession
    names = [column.name for column in columns]
    # By position: a name with a dot in it is more than mapInArrow can take.
    selected = [one.alias(f"c{i}") for i, one in enumerate(as_arrays(frame, names))]
    split = _split_flag(frame, validation, seed)
    target = f"{_place.shared(spark, directory)}/sparkdl-{uuid.uuid4().hex}"
    writer = Writer(
        directory=target,
        columns=tuple(columns),
        chunk_bytes=chunk_bytes,
        split=None if split is None else _SPLIT,
    )
    _place.make(target)
    try:
        chosen = frame.select(*selected, *([] if split is None else [split]))
        with _narrow_batches(spark, frame, names):
            reports = chosen.mapInArrow(writer, REPORT).collect()
        data = _gathered(target, columns, reports)
        _require_rows(data, validation)
        judged(data.columns, [report.ranges for report in reports], instead)
    except BaseException:
        _place.delete(target)
        raise
    atexit.register(data.delete)
    return data


@contextlib.contextmanager
def _narrow_batches(spark: Any, frame: Any, names: Sequence[str]) -> Iterator[None]:
    """Have Spark hand over fewer rows at a time where rows are arrays, which may be wide.

    10,000 images of 150,000 numbers would be 6 GB, in the JVM and in the Python worker.
    """
    before = spark.conf.get(_ROWS_AT_ONCE)
    wide = any(is_wide(frame.schema[name].dataType) for name in names)
    if not wide or 0 < int(before) <= _WIDE_ROWS:
        yield
        return
    spark.conf.set(_ROWS_AT_ONCE, str(_WIDE_ROWS))
    try:
        yield
    finally:
        spark.conf.set(_ROWS_AT_ONCE, before)


def _all_but(names: Iterable[str], validation: float | str) -> list[str]:
    return [name for name in names if name != validation]


def _split_flag(frame: Any, validation: float | str, seed: int) -> Any:
    """Return the column that tells held rows, or ``None``."""
    from pyspark.sql import functions as f

    if isinstance(validation, str):
        kinds = {field.name: field.dataType.typeName() for field in frame.schema.fields}
        if kinds.get(validation) != "boolean":
            has = kinds.get(validation)
            raise DataError(
                f"the validation column {validation!r} must be a boolean, "
                + (f"not {has}" if has else "and the DataFrame does not have it")
            )
        flag = f.col("`" + validation.replace("`", "``") + "`")
        return f.coalesce(flag, f.lit(False)).alias(_SPLIT)
    if not 0 <= validation < 1:
        raise ValueError(f"validation is a share from 0 to below 1, not {validation}")
    return (f.rand(seed) < validation).alias(_SPLIT) if validation else None


def _gathered(directory: str, asked: Sequence[Column], reports: list[Any]) -> ShardedData:
    """Return the data that all tasks' reports add up to."""
    for report in reports:
        if report.error:
            raise DataError(report.error)
    reports.sort(key=lambda report: report.name)
    _place.require_seen(directory, reports)
    columns: tuple[Column, ...] = tuple(asked)
    for position, report in enumerate(reports):
        own = columns_from(report.columns)
        if position == 0:
            columns = own
        for one, other in zip(columns, own, strict=True):
            if one != other:
                raise DataError(
                    f"column {one.name!r} has arrays of different lengths ({one.width} and "
                    f"{other.width} numbers): pad or cut them to one length first"
                )

    def part(held: bool) -> ShardedData:
        files = tuple(
            File(name=report.name, counts=tuple(report.counts))
            for report in reports
            if report.held is held
        )
        return ShardedData(directory=directory, columns=columns, files=files)

    whole, held = part(False), part(True)
    if not held.files:
        return whole
    return ShardedData(directory=directory, columns=columns, files=whole.files, validation=held)


def _require_rows(data: ShardedData, validation: float | str) -> None:
    """Raise unless there are rows to train on, and to validate with where that was asked for."""
    held = 0 if data.validation is None else data.validation.rows
    if not data.rows + held:
        raise DataError("the DataFrame has no rows")
    if validation and not data.rows:
        why = (
            f"{validation!r} is true in all of them"
            if isinstance(validation, str)
            else f"validation={validation} held all of them back"
        )
        raise DataError(f"no row of {held} is left to train on: {why}")
    if validation and not held:
        why = (
            f"{validation!r} is true in none of them"
            if isinstance(validation, str)
            else f"validation={validation} held none of them back"
        )
        raise DataError(f"no row of {data.rows} is left to validate with: {why}")


def _row_bytes(columns: Iterable[Column]) -> int:
    return sum(column.row_bytes() for column in columns)
