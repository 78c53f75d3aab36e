"""One rank's batches, read back chunk by chunk: as numpy arrays and as a ``tf.data.Dataset``."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sparkdl.data._columns import Column
from sparkdl.data._errors import DataError
from sparkdl.data._even import Piece, Share, order, pieces
from sparkdl.data._write import file_system

BUFFER_BYTES = 64 << 20
_OPEN_FILES = 8

Batch = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One rank's rows. ``steps`` batches make an epoch; that number is the same on every rank."""

    directory: str
    columns: tuple[Column, ...]
    chunks: tuple[tuple[str, int, int], ...]
    share: Share
    rank: int
    seed: int
    shuffle: bool
    buffer_rows: int

    @property
    def steps(self) -> int:
        """Return the number of batches in an epoch: what ``fit`` wants as steps_per_epoch."""
        return self.share.steps

    @property
    def rows(self) -> int:
        """Return the number of rows this rank sees in an epoch."""
        return self.share.rows

    def batches(self, epoch: int = 0) -> Iterator[Batch]:
        """Yield one epoch's batches: each a dictionary of numpy arrays by column name.

        The same epoch always gives the same batches. Another epoch has the same rows of the
        data set dealt out anew to the ranks, unless ``shuffle`` is off.
        """
        counts = [rows for _, _, rows in self.chunks]
        chunks = order(len(counts), self.seed, epoch) if self.shuffle else list(range(len(counts)))
        read = self._read(pieces(counts, chunks, self.share))
        if not self.shuffle:
            return _rebatched(read, self.share.batch_sizes())
        return self._drawn(read, epoch)

    def dataset(
        self,
        features: str | Sequence[str],
        label: str | Sequence[str] | None = None,
        *,
        weight: str | None = None,
        epochs: int | None = None,
        first_epoch: int = 0,
    ) -> Any:
        """Return a ``tf.data.Dataset`` of one epoch after the other, each shuffled anew.

        An element is ``(features, label)`` or ``(features, label, weight)``, or the features
        alone; features (and labels) are one tensor for a name, a dictionary for a list of names.
        Without ``epochs`` it never ends: give ``fit`` the ``steps`` of an epoch as
        ``steps_per_epoch``. After a restart, ``first_epoch`` goes on where the run had stopped.
        """
        import tensorflow as tf

        wanted: list[str | Sequence[str]] = [features]
        wanted += [] if label is None else [label]
        wanted += [] if weight is None else [weight]
        if weight is not None and label is None:
            raise ValueError("weight needs a label")

        def elements() -> Iterator[Any]:
            every = itertools.count(first_epoch)
            for epoch in every if epochs is None else range(first_epoch, epochs):
                for batch in self.batches(epoch):
                    yield _element(wanted, lambda name, batch=batch: batch[name])

        signature = _element(wanted, self._tensor_spec)
        dataset = tf.data.Dataset.from_generator(elements, output_signature=signature)
        if epochs is not None:
            left = max(0, epochs - first_epoch) * self.steps
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(left))
        # One batch ahead, so that reading and training overlap; not AUTOTUNE, which may hold many.
        return dataset.prefetch(1)

    def _tensor_spec(self, name: str) -> Any:
        import tensorflow as tf

        column = next((column for column in self.columns if column.name == name), None)
        if column is None:
            known = ", ".join(one.name for one in self.columns)
            raise DataError(f"the data have no column {name!r}; they have {known}")
        return tf.TensorSpec((None, *column.shape), column.dtype, name=None)

    def _read(self, parts: Iterator[Piece]) -> Iterator[Batch]:
        """Yield the rows of pieces, with a few files open at a time."""
        files, directory = file_system(self.directory)
        opened: dict[str, Any] = {}
        for piece in parts:
            name, index, _ = self.chunks[piece.chunk]
            if name not in opened:
                while len(opened) >= _OPEN_FILES:
                    del opened[next(iter(opened))]
                opened[name] = _opened(files, f"{directory}/{name}")
            batch = opened[name].get_batch(index).slice(piece.first, piece.last - piece.first)
            yield {
                column.name: _numpy(batch.column(i), column)
                for i, column in enumerate(self.columns)
            }

    def _drawn(self, read: Iterator[Batch], epoch: int) -> Iterator[Batch]:
        """Yield batches of rows drawn at random from a buffer that is kept full."""
        import numpy as np

        random = np.random.default_rng([self.seed & (2**63 - 1), epoch, self.rank])
        pool = _Pool(self.columns, min(self.buffer_rows, self.share.rows))
        rest: Batch | None = None
        for size in self.share.batch_sizes():
            while pool.room:
                if rest is None:
                    rest = next(read, None)
                if rest is None:
                    break
                rest = pool.fill(rest)
            yield pool.draw(size, random)


class _Pool:
    """Rows in arrays of fixed length, from which any may be drawn."""

    def __init__(self, columns: Sequence[Column], capacity: int) -> None:
        import numpy as np

        self._arrays = {
            column.name: np.empty((capacity, *column.shape), column.dtype) for column in columns
        }
        self._capacity, self._filled = capacity, 0

    @property
    def room(self) -> int:
        """Return how many rows it can take."""
        return self._capacity - self._filled

    def fill(self, rows: Batch) -> Batch | None:
        """Take as many rows as there is room for; return the others, if any."""
        count = len(next(iter(rows.values())))
        taken = min(self.room, count)
        for name, array in self._arrays.items():
            array[self._filled : self._filled + taken] = rows[name][:taken]
        self._filled += taken
        if taken == count:
            return None
        return {name: array[taken:] for name, array in rows.items()}

    def draw(self, count: int, random: Any) -> Batch:
        """Return ``count`` rows drawn at random, and close the gaps."""
        import numpy as np

        chosen = random.choice(self._filled, count, replace=False)
        left = self._filled - count
        gaps = chosen[chosen < left]
        movers = np.setdiff1d(np.arange(left, self._filled), chosen, assume_unique=True)
        drawn = {}
        for name, array in self._arrays.items():
            drawn[name] = array[chosen]
            array[gaps] = array[movers]
        self._filled = left
        return drawn


def _rebatched(read: Iterator[Batch], sizes: Iterator[int]) -> Iterator[Batch]:
    """Yield rows in their order, in batches of the given sizes."""
    import numpy as np

    rest: Batch | None = None
    for size in sizes:
        parts: list[Batch] = []
        missing = size
        while missing:
            rows = rest if rest is not None else next(read)
            count = len(next(iter(rows.values())))
            parts.append({name: array[:missing] for name, array in rows.items()})
            rest = (
                {name: array[missing:] for name, array in rows.items()} if count > missing else None
            )
            missing -= min(missing, count)
        yield {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _element(wanted: Sequence[str | Sequence[str]], of: Any) -> Any:
    """Return what ``of`` gives for each name, in the structure that Keras' ``fit`` takes."""
    parts = tuple(
        of(one) if isinstance(one, str) else {name: of(name) for name in one} for one in wanted
    )
    return parts if len(parts) > 1 else parts[0]


def _opened(files: Any, path: str) -> Any:
    import pyarrow as pa

    try:
        return pa.ipc.open_file(files.open_input_file(path))
    except FileNotFoundError:
        import socket

        raise DataError(
            f"{socket.gethostname()} does not see {path}: either the directory is not shared with "
            "this machine, or the data were deleted (the `with` block on the driver ended)"
        ) from None


def _numpy(array: Any, column: Column) -> Any:
    if column.shape:
        values = array.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(-1, *column.shape)
    return array.to_numpy(zero_copy_only=False)
