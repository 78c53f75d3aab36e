"""Which columns of a DataFrame can be trained on, and what they are in numpy."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from sparkdl.data._errors import DataError

_NUMBERS = {
    "boolean": "bool",
    "tinyint": "int8",
    "smallint": "int16",
    "int": "int32",
    "bigint": "int64",
    "float": "float32",
    "double": "float64",
}
_ADVICE = {
    "string": "index it (pyspark.ml.feature.StringIndexer) or cast it to a number",
    "date": "turn it into a number, such as datediff(…) or unix_date(…)",
    "timestamp": "turn it into a number, such as cast('double')",
    "timestamp_ntz": "turn it into a number, such as unix_timestamp(…)",
    "decimal": "cast it to double",
    "binary": "decode it into an array of numbers first",
    "struct": "select its fields as columns of their own",
    "map": "select its values as columns of their own",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column: its numpy type, and the shape of one row's value (``()`` for a number)."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Return how many numbers one row has."""
        return prod(self.shape)

    def row_bytes(self) -> int:
        """Return how many bytes one row takes in memory."""
        sizes = {"bool": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8}
        return self.width * (sizes.get(self.dtype) or (4 if self.dtype == "float32" else 8))


def described(schema: Any, names: Sequence[str], float_dtype: str | None) -> list[Column]:
    """Return the columns ``names`` of a Spark schema; shapes come later, from the rows.

    Floating-point columns become ``float_dtype`` unless that is ``None``. Raises ``DataError``
    for a column that is not there or cannot be trained on.
    """
    if not names:
        raise DataError("no columns were asked for")
    fields = {field.name: field.dataType for field in schema.fields}
    columns = []
    for name in names:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            hint = f": did you mean {near[0]!r}?" if near else f"; it has {', '.join(fields)}"
            raise DataError(f"the DataFrame has no column {name!r}{hint}")
        dtype = _dtype(name, fields[name])
        if float_dtype and dtype.startswith("float"):
            dtype = float_dtype
        columns.append(Column(name=name, dtype=dtype))
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise DataError(f"column {twice[0]!r} is asked for more than once")
    return columns


def _dtype(name: str, kind: Any) -> str:
    """Return the numpy type of a Spark type, looking through arrays and ML vectors."""
    inner = kind
    while inner.typeName() == "array":
        inner = inner.elementType
    if is_vector(kind):
        return "float64"
    text = inner.simpleString()
    if text in _NUMBERS:
        return _NUMBERS[text]
    advice = _ADVICE.get(inner.typeName(), "turn it into numbers first")
    raise DataError(
        f"column {name!r} is {kind.simpleString()}: only numbers, arrays of numbers and ML "
        f"vectors can be trained on; {advice}"
    )


def is_vector(kind: Any) -> bool:
    """Tell whether a Spark type is that of ``pyspark.ml.linalg`` vectors."""
    return type(kind).__name__ == "VectorUDT"


def is_wide(kind: Any) -> bool:
    """Tell whether a row of this Spark type may be many numbers."""
    return is_vector(kind) or kind.typeName() == "array"


def as_arrays(frame: Any, names: Sequence[str]) -> list[Any]:
    """Return Spark columns for ``names`` in which ML vectors have become arrays."""
    from pyspark.ml.functions import vector_to_array

    kinds = {field.name: field.dataType for field in frame.schema.fields}
    return [
        vector_to_array(quoted(frame, name)) if is_vector(kinds[name]) else quoted(frame, name)
        for name in names
    ]


def quoted(frame: Any, name: str) -> Any:
    """Return a frame's column by its exact name, dots and all."""
    return frame["`" + name.replace("`", "``") + "`"]
