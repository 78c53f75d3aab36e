"""Who gets which rows of an epoch: arithmetic only, the same on every rank.

The chunks of all files are put in this epoch's order and laid end to end. Each rank gets one
stretch of that line of rows. So it matters neither how many partitions the DataFrame had nor how
many rows were in each; a chunk on a border is read by two ranks, each taking its part.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sparkdl.data._errors import DataError

LAST = ("drop", "wrap", "keep")


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """One rank's stretch ``start`` to ``stop`` of an epoch's line of rows, in ``steps`` batches.

    ``steps`` is the same on every rank. With ``last="wrap"``, ``stop`` may lie beyond the end of
    the line, which then goes on at its beginning.
    """

    start: int
    stop: int
    steps: int

    @property
    def rows(self) -> int:
        """Return the number of rows, those counted that come a second time."""
        return self.stop - self.start

    def batch_sizes(self) -> Iterator[int]:
        """Yield the size of each batch; they differ by one row at most."""
        for step in range(self.steps):
            yield (step + 1) * self.rows // self.steps - step * self.rows // self.steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Rows ``first`` to ``last`` (exclusive) of a chunk."""

    chunk: int
    first: int
    last: int


def share(rows: int, rank: int, size: int, batch: int, last: str) -> Share:
    """Return the share of ``rank`` among ``size`` ranks with ``batch`` rows a step each.

    ``last`` says what becomes of rows that do not fill a step on every rank: ``"drop"`` leaves
    them out of this epoch, ``"wrap"`` fills the step up with rows from the epoch's beginning,
    ``"keep"`` makes batches smaller, so that every row comes exactly once.
    """
    _require_sensible(rank, size, batch, last)
    step = size * batch
    if last == "keep":
        return _kept(rows, rank, size, batch)
    steps = rows // step if last == "drop" else -(-rows // step)
    if steps == 0:
        if rows == 0:
            raise DataError("there are no rows: every rank needs at least one")
        raise DataError(
            f"{rows} rows do not fill one step of {size} ranks with {batch} rows each, and "
            'last="drop" leaves out what does not fill a step. Lower batch_size, or use '
            'last="wrap" or "keep".'
        )
    return Share(start=rank * steps * batch, stop=(rank + 1) * steps * batch, steps=steps)


def _kept(rows: int, rank: int, size: int, batch: int) -> Share:
    most = -(-rows // size)
    steps = -(-most // batch)
    if rows // size < max(steps, 1):
        raise DataError(
            f'last="keep" cannot give each of {size} ranks {max(steps, 1)} batches of at least one '
            f"row from {rows} rows with batch_size={batch}. Use fewer ranks, a larger batch_size, "
            'or last="drop" or "wrap".'
        )
    return Share(start=rank * rows // size, stop=(rank + 1) * rows // size, steps=steps)


def _require_sensible(rank: int, size: int, batch: int, last: str) -> None:
    if last not in LAST:
        known = ", ".join(repr(one) for one in LAST)
        raise ValueError(f"last is one of {known}, not {last!r}")
    if batch < 1:
        raise ValueError(f"batch_size is at least 1, not {batch}")
    if not 0 <= rank < size:
        raise ValueError(f"rank {rank} does not exist among {size} ranks")


def order(chunks: int, seed: int, epoch: int) -> list[int]:
    """Return this epoch's order of the chunks; the same for the same seed and epoch."""
    indexes = list(range(chunks))
    # A text as seed gives the same order in every process and every Python.
    random.Random(f"sparkdl {seed} {epoch}").shuffle(indexes)
    return indexes


def pieces(counts: Sequence[int], chunks: Sequence[int], share: Share) -> Iterator[Piece]:
    """Yield the parts of chunks that make up a share, in order.

    ``counts`` has the rows of each chunk, ``chunks`` the order in which they form the line.
    """
    total, left = sum(counts), share.rows
    if left and not total:
        raise DataError("there are no rows: every rank needs at least one")
    skip = share.start % total if total else 0
    while left:
        for chunk in chunks:
            if skip >= counts[chunk]:
                skip -= counts[chunk]
                continue
            taken = min(counts[chunk] - skip, left)
            if taken:
                yield Piece(chunk=chunk, first=skip, last=skip + taken)
            skip, left = 0, left - taken
            if not left:
                return
