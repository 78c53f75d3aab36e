"""Which columns of a DataFrame can be trained on, and what they are in numpy."""

import difflib
from collections.abc import Mapping, Sequence
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
# How many bits of a whole number a type keeps; floating-point numbers lose the others.
_BITS = {
    "bool": 1,
    "int8": 7,
    "float16": 11,
    "int16": 15,
    "float32": 24,
    "int32": 31,
    "float64": 53,
    "int64": 63,
}
# By Spark's name for a type: an expression that makes exact numbers of column {c}, and what they
# are; or what else to do.
ADVICE = {
    "string": ("", "index it (pyspark.ml.feature.StringIndexer) or cast it to a number"),
    "date": ("datediff({c}, date'2020-01-01')", "the days since a date near yours"),
    "timestamp": (
        "unix_seconds({c}) - unix_seconds(timestamp'2020-01-01')",
        "the seconds since a time near yours",
    ),
    "timestamp_ntz": (
        "timestampdiff(SECOND, timestamp_ntz'2020-01-01', {c})",
        "the seconds since a time near yours",
    ),
    "decimal": ("cast({c} as double)", "the nearest double"),
    "daytimeinterval": (
        "unix_seconds(timestamp'2020-01-01' + {c}) - unix_seconds(timestamp'2020-01-01')",
        "its seconds",
    ),
    "yearmonthinterval": ("extract(YEAR FROM {c}) * 12 + extract(MONTH FROM {c})", "its months"),
    "binary": ("", "decode it into an array of numbers first"),
    "struct": ("", "select its fields as columns of their own"),
    "map": ("", "select its values as columns of their own"),
    "variant": ("", "take numbers out of it with variant_get(…)"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column: its numpy type, and the shape of one row's value (``()`` for a number).

    ``narrowed`` is the type that its numbers become, in the files or in the model, where that
    can hold fewer of them than Spark's type; else ``None``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    narrowed: str | None = None

    @property
    def width(self) -> int:
        """Return how many numbers one row has."""
        return prod(self.shape)

    def row_bytes(self) -> int:
        """Return how many bytes one row takes in memory."""
        bits = self.dtype.lstrip("abcdefghijklmnopqrstuvwxyz")
        return self.width * (int(bits) // 8 if bits else 1)


def described(
    schema: Any,
    names: Sequence[str],
    float_dtype: str | None,
    model_dtypes: Mapping[str, str] | None = None,
) -> list[Column]:
    """Return the columns ``names`` of a Spark schema; shapes come later, from the rows.

    Columns become what ``model_dtypes`` says, where it has their name; other floating-point
    columns become ``float_dtype`` unless that is ``None``. Raises ``DataError`` for a column that
    is not there or cannot be trained on.
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
        wanted = (model_dtypes or {}).get(name)
        if wanted not in _BITS:
            wanted = float_dtype if float_dtype and dtype.startswith("float") else dtype
        narrowed = wanted if narrows(dtype, wanted) else None
        columns.append(Column(name=name, dtype=wanted, narrowed=narrowed))
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise DataError(f"column {twice[0]!r} is asked for more than once")
    return columns


def require_spark(frame: Any) -> None:
    """Raise ``DataError`` unless ``frame`` is a Spark DataFrame."""
    if hasattr(frame, "sparkSession") and hasattr(frame, "schema"):
        return
    kind = type(frame)
    name = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
    how = "frame.to_spark()" if hasattr(frame, "to_spark") else "spark.createDataFrame(frame)"
    raise DataError(f"a Spark DataFrame is needed, not {name}: make one with {how}")


def narrows(source: str, target: str) -> bool:
    """Tell whether some numbers of the type ``source`` are others in the type ``target``."""
    if source.startswith("float") and not target.startswith("float"):
        return True
    return _BITS[source] > _BITS[target]


def _dtype(name: str, kind: Any) -> str:
    """Return the numpy type of a Spark type, looking through arrays and ML vectors."""
    inner, depth = kind, 0
    while inner.typeName() == "array":
        inner, depth = inner.elementType, depth + 1
    if is_vector(kind):
        return "float64"
    text = inner.simpleString()
    if text in _NUMBERS:
        return _NUMBERS[text]
    raise DataError(
        f"column {name!r} is {kind.simpleString()}: only numbers, arrays of numbers and ML "
        f"vectors can be trained on; {_advice(name, inner, depth)}"
    )


def _advice(name: str, kind: Any, depth: int) -> str:
    """Return what to make of values of a type that is none of numbers, in arrays of arrays."""
    # The names of intervals have their fields in them, as in "interval day to second".
    word = kind.typeName() if "interval" not in kind.typeName() else type(kind).__name__
    expression, what = ADVICE.get(word.lower().removesuffix("type"), ("", "make numbers of it"))
    if not expression:
        return what
    if word == "decimal" and kind.scale == 0 and kind.precision <= 18:
        expression, what = "cast({c} as bigint)", "the same whole number"
    made, quoted_name = expression.format(c="x"), "`" + name.replace("`", "``") + "`"
    for _ in range(depth - 1):
        made = f"transform(x, x -> {made})"
    made = f"transform({quoted_name}, x -> {made})" if depth else expression.format(c=quoted_name)
    return f'turn it into a number, such as f.expr("{made}"), {what}'


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
