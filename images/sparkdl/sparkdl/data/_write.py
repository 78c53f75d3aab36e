"""A DataFrame's rows, written once as Arrow files of small chunks. Runs in Spark's Python workers.

A chunk is a record batch: what is read at once, and what is shuffled across files. A task reports
what it wrote; files of attempts that failed are in nobody's report, and so are never read.
"""

import json
import socket
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sparkdl.data._columns import Column
from sparkdl.data._narrow import UnfitError, joined, noted

HOW_TO_SHARE = (
    "Name a directory that all machines share with directory=… or with the setting "
    "spark.sparkdl.sharedDirectory."
)
# What a task reports, a row per file; or a single row with an error.
REPORT = (
    "held boolean, name string, counts array<int>, columns string, ranges array<double>, "
    "host string, error string"
)


class _UnsuitableError(Exception):
    """A row that cannot be trained on."""


@dataclass(kw_only=True)
class _Output:
    """One file in the making. Its columns' shapes are those of its first row."""

    name: str
    held: bool
    columns: list[Column]
    ranges: list[Any]
    sink: Any
    writer: Any
    chunk_rows: int
    waiting: list[Any] = field(default_factory=list)
    waiting_rows: int = 0
    counts: list[int] = field(default_factory=list)

    def add(self, batch: Any) -> None:
        """Take rows; write chunks as they become full."""
        while batch.num_rows:
            room = self.chunk_rows - self.waiting_rows
            self.waiting.append(batch.slice(0, room))
            self.waiting_rows += self.waiting[-1].num_rows
            batch = batch.slice(self.waiting[-1].num_rows)
            if self.waiting_rows == self.chunk_rows:
                self.flush()

    def flush(self) -> None:
        """Write what is waiting as one chunk."""
        import pyarrow as pa

        if self.waiting:
            table = pa.Table.from_batches(self.waiting).combine_chunks()
            self.writer.write_batch(table.to_batches()[0])
            self.counts.append(self.waiting_rows)
            self.waiting, self.waiting_rows = [], 0

    def close(self) -> None:
        """Write the rest and finish the file."""
        self.flush()
        self.writer.close()
        self.sink.close()


@dataclass(frozen=True, kw_only=True)
class Writer:
    """The function of ``mapInArrow``; rows come with the columns, then the ``split`` flag."""

    directory: str
    columns: tuple[Column, ...]
    chunk_bytes: int
    split: str | None

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Write all rows of one partition and yield the report."""
        outputs: dict[bool, _Output] = {}
        try:
            for batch in batches:
                for held, rows in self._parts(batch):
                    self._add(outputs, held, rows)
            for output in outputs.values():
                output.close()
        except (_UnsuitableError, UnfitError) as error:
            yield _report([{"error": str(error)}])
            return
        yield _report([_row(output) for output in outputs.values()])

    def _parts(self, batch: Any) -> Iterator[tuple[bool, Any]]:
        import pyarrow.compute as pc

        if self.split is None:
            yield False, batch
            return
        flags = batch.column(batch.schema.get_field_index(self.split))
        yield False, batch.filter(pc.invert(flags))
        yield True, batch.filter(flags)

    def _add(self, outputs: dict[bool, _Output], held: bool, rows: Any) -> None:
        import pyarrow as pa

        if not rows.num_rows:
            return
        output = outputs.get(held)
        shapes = output.columns if output else [None] * len(self.columns)
        done = [
            _fixed(rows.column(i), column, known)
            for i, (column, known) in enumerate(zip(self.columns, shapes, strict=True))
        ]
        columns = [column for _, column, _ in done]
        batch = pa.RecordBatch.from_arrays([a for a, _, _ in done], [c.name for c in columns])
        if output is None:
            output = outputs[held] = self._open(held, columns, batch.schema)
        output.add(batch)
        ranges = zip(output.ranges, (own for _, _, own in done), strict=True)
        output.ranges = [joined(one, other) for one, other in ranges]

    def _open(self, held: bool, columns: list[Column], schema: Any) -> _Output:
        import pyarrow as pa
        from pyspark import TaskContext

        context = TaskContext.get()
        kind = "held" if held else "part"
        name = f"{kind}-{context.partitionId():05d}-{context.taskAttemptId()}.arrow"
        files, directory = file_system(self.directory)
        try:
            sink = files.open_output_stream(f"{directory}/{name}")
        except OSError:
            # The driver has made it, for itself and whoever shares it.
            raise _UnsuitableError(
                f"{directory.rpartition('/')[0]} is not shared: the driver has made {directory}, "
                f"and {socket.gethostname()} cannot write there. {HOW_TO_SHARE}"
            ) from None
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        row_bytes = max(1, sum(column.row_bytes() for column in columns))
        return _Output(
            name=name,
            held=held,
            columns=columns,
            ranges=[None] * len(columns),
            sink=sink,
            writer=pa.ipc.new_file(sink, schema, options=options),
            chunk_rows=max(1, self.chunk_bytes // row_bytes),
        )


def file_system(directory: str) -> tuple[Any, str]:
    """Return pyarrow's file system for a path or URI, and the path within it."""
    from pyarrow import fs

    if "://" not in directory:
        return fs.LocalFileSystem(), directory.removeprefix("file:")
    found, path = fs.FileSystem.from_uri(directory)
    return found, path


def _fixed(array: Any, column: Column, known: Column | None) -> tuple[Any, Column, Any]:
    """Return rows as an Arrow array of fixed width, the column with its shape, and its ranges.

    ``known`` has the shape that earlier rows had.
    """
    import pyarrow as pa

    _require_no_nulls(array, column.name)
    shape: list[int] = []
    values = array
    while pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        shape.append(_length(values, column.name))
        values = values.flatten()
        _require_no_nulls(values, column.name)
    if known is not None and tuple(shape) != known.shape:
        raise _UnsuitableError(_ragged(column.name, known.shape, tuple(shape)))
    found = replace(column, shape=tuple(shape))
    ranges = None
    if column.narrowed is not None:
        ranges = noted(values.to_numpy(zero_copy_only=False), found)
    # What is lost has been looked at.
    numbers = values.cast(_arrow_type(column.dtype), safe=False)
    whole = pa.FixedSizeListArray.from_arrays(numbers, found.width) if shape else numbers
    return whole, found, ranges


def _arrow_type(dtype: str) -> Any:
    import pyarrow as pa

    return pa.bool_() if dtype == "bool" else pa.from_numpy_dtype(dtype)


def _require_no_nulls(array: Any, name: str) -> None:
    if array.null_count:
        raise _UnsuitableError(
            f"column {name!r} has nulls: fill or drop them first (df.fillna(…), df.dropna(…))"
        )


def _length(lists: Any, name: str) -> int:
    """Return the length that all lists of an array have."""
    import pyarrow.compute as pc

    bounds = pc.min_max(pc.list_value_length(lists)).as_py()
    if bounds["min"] != bounds["max"]:
        raise _UnsuitableError(_ragged(name, (bounds["min"],), (bounds["max"],)))
    if not bounds["min"]:
        raise _UnsuitableError(f"column {name!r} has empty arrays: there is nothing to train on")
    return int(bounds["min"])


def _ragged(name: str, one: tuple[int, ...], other: tuple[int, ...]) -> str:
    def said(shape: tuple[int, ...]) -> str:
        return " x ".join(map(str, shape)) or "a single"

    return (
        f"column {name!r} has arrays of different lengths ({said(one)} and {said(other)} "
        "numbers): pad or cut them to one length first"
    )


def _row(output: _Output) -> dict[str, Any]:
    return {
        "held": output.held,
        "name": output.name,
        "counts": output.counts,
        "columns": json.dumps([asdict(column) for column in output.columns]),
        "ranges": [x for one in output.ranges if one is not None for x in one.ravel().tolist()],
    }


def _report(rows: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    schema = pa.schema(
        [
            ("held", pa.bool_()),
            ("name", pa.string()),
            ("counts", pa.list_(pa.int32())),
            ("columns", pa.string()),
            ("ranges", pa.list_(pa.float64())),
            ("host", pa.string()),
            ("error", pa.string()),
        ]
    )
    whole = [{"host": socket.gethostname(), "error": None, **row} for row in rows]
    return pa.RecordBatch.from_pylist(whole, schema=schema)


def columns_from(text: str) -> tuple[Column, ...]:
    """Read back the columns of a report."""
    return tuple(Column(**{**one, "shape": tuple(one["shape"])}) for one in json.loads(text))
