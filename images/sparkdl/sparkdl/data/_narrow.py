"""What is lost when numbers are stored in, or trained as, a smaller type than Spark's.

Workers note for each position of a column its smallest and largest number and the largest
rounding error; the driver puts the notes of all files together and judges. That needs no pass
over the data of its own.
"""

import itertools
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sparkdl.data._columns import Column
from sparkdl.data._errors import DataError

# Columns with more numbers in a row are noted as one: they are images and the like, whose
# numbers are all of one kind.
MOST_POSITIONS = 4096
# float32 leaves 1/1024 of a column's range in doubt once its numbers lie 16,384 times as far
# from 0 as from one another.
_BLURRED = 1024
_ADVICE = (
    "Subtract what they have in common or scale them first, as "
    "pyspark.ml.feature.StandardScaler with withMean=True does"
)
_WHOLE_NUMBERS = {"float16": 2**11, "float32": 2**24, "float64": 2**53}


class UnfitError(Exception):
    """A number that its new type cannot hold at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """The smallest and largest finite number of a position, and the largest rounding error."""

    low: float
    high: float
    error: float

    def joined(self, other: "Range") -> "Range":
        """Return the range of both."""
        return Range(
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            error=max(self.error, other.error),
        )


def positions(column: Column) -> int:
    """Return how many ranges are noted for a column; 0 where nothing can be lost."""
    if column.narrowed is None:
        return 0
    return column.width if column.width <= MOST_POSITIONS else 1


def noted(values: Any, column: Column) -> Any:
    """Return the ranges of rows: a numpy array of ``positions(column)`` rows low, high, error.

    ``values`` is a numpy array of whole rows of ``column``. Raises ``UnfitError`` for a number
    that ``column.narrowed`` cannot hold: one that would become infinite or wrap around.
    """
    import numpy as np

    rows = values.reshape(-1, positions(column))
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = rows.astype(column.narrowed)
        if narrow.dtype.kind in "iub":
            lost = narrow != rows
        else:
            lost = np.isfinite(rows) & ~np.isfinite(narrow)
        if lost.any():
            value = _number(rows[lost][0].item())
            raise UnfitError(
                f"column {column.name!r} has {value}, which {column.narrowed} cannot hold: scale "
                "or clip the column first"
            )
        wide = rows.astype("float64")
        finite = np.isfinite(wide)
        error = np.where(finite, np.abs(wide - narrow.astype("float64")), 0.0)
    return np.stack(
        [
            np.where(finite, wide, np.inf).min(0),
            np.where(finite, wide, -np.inf).max(0),
            error.max(0),
        ],
        1,
    )


def joined(one: Any, other: Any) -> Any:
    """Return the ranges of two lots of rows together; ``None`` stands for no rows."""
    import numpy as np

    if one is None or other is None:
        return other if one is None else one
    low = np.minimum(one[:, 0], other[:, 0])
    return np.column_stack([low, np.maximum(one[:, 1:], other[:, 1:])])


def judged(columns: Sequence[Column], reports: Iterable[Sequence[float]], instead: str) -> None:
    """Raise ``DataError`` if a column's numbers come too close together when they are rounded.

    Warn where only whole numbers do. A report has what ``noted`` gave for one file, column after
    column; ``instead`` says how the numbers can be kept as they are.
    """
    whole: list[Range] = []
    for report in reports:
        it = iter(report)
        ranges = [Range(low=a, high=b, error=c) for a, b, c in zip(it, it, it, strict=True)]
        whole = [a.joined(b) for a, b in zip(whole, ranges, strict=True)] if whole else ranges
    left = iter(whole)
    for column in columns:
        own = list(enumerate(itertools.islice(left, positions(column))))
        if blurred := next((one for one in own if _is_blurred(one[1])), None):
            raise DataError(f"{_told(column, *blurred)}. {_ADVICE}, or {instead}.")
        if cut := next((one for one in own if _is_cut(one[1], column)), None):
            text = f"{_told(column, *cut)}: neighbouring whole numbers become one"
            warnings.warn(f"{text}. {_ADVICE}, or {instead}.", stacklevel=4)


def _is_blurred(one: Range) -> bool:
    return one.high > one.low and one.error * _BLURRED > one.high - one.low


def _is_cut(one: Range, column: Column) -> bool:
    exact = _WHOLE_NUMBERS.get(column.narrowed or "")
    return exact is not None and one.error >= 0.5 and max(abs(one.low), abs(one.high)) > exact


def _told(column: Column, position: int, one: Range) -> str:
    where = f"column {column.name!r}"
    if positions(column) > 1:
        where += f", position {position},"
    return (
        f"{where} has numbers from {_number(one.low)} to {_number(one.high)}, which "
        f"{column.narrowed} rounds by up to {one.error:.3g}"
    )


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e18 else repr(value)
