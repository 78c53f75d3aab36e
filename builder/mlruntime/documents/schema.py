"""Documents against types: msgspec checks and converts, and a mistake is reported with its place.

A form is a ``Form`` (a ``msgspec.Struct`` without unknown keys). msgspec says only roughly where a
value does not fit, so ``explain`` looks again, for the words; what is accepted is msgspec's alone.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar, Final, TypeVar

import msgspec
from msgspec import Meta

from mlruntime.documents.reading import Location, kind_of
from mlruntime.errors import MlruntimeError

T = TypeVar("T")


class Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """A mapping with these keys and no others. ``FORMER`` maps old names of keys to today's."""

    FORMER: ClassVar[Mapping[str, str]] = {}


Text = Annotated[str, Meta(pattern=r"\S")]
Natural = Annotated[int, Meta(ge=0)]


def described(what: str, pattern: str, example: str | None = None) -> Meta:
    """Return what text must look like: ``'x' is not WHAT``, for example ``example``."""
    return Meta(pattern=pattern, description=what, examples=[example] if example else None)


Day = Annotated[str, described("a date", r"^\d{4}-\d\d-\d\d$", "2027-06-30")]
Sha256 = Annotated[str, described("a sha256 in lower-case hex", "^[0-9a-f]{64}$")]


def day(text: str, place: Location) -> date:
    """Return a ``Day`` as a date; one that no calendar has is an error at its ``place``."""
    try:
        return date.fromisoformat(text)
    except ValueError as problem:
        raise place.fail(f"{text!r} is not a date", why=str(problem)) from None


def moment(text: str, place: Location) -> str:
    """Return a moment (RFC 3339, UTC); anything else is an error at its ``place``."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo != UTC:
        raise place.fail(
            f"{text!r} is not a UTC timestamp", hint="for example 2026-11-20T00:00:00Z"
        )
    return text


def checked(kind: type[T], place: Location) -> T:
    """Return the value at ``place`` as a ``kind``, or raise what is wrong with it and where."""
    try:
        return msgspec.convert(place.value, kind)
    except msgspec.ValidationError as problem:
        found = next(explain(place, msgspec.inspect.type_info(kind)), None)
        raise found or place.fail(str(problem)) from None


def explain(place: Location, kind: Any) -> Iterator[MlruntimeError]:
    """Yield what does not fit ``kind`` (of ``msgspec.inspect``), in the document's order."""
    about: Mapping[str, Any] = {}
    if isinstance(kind, msgspec.inspect.Metadata):
        kind, about = kind.type, kind.extra_json_schema or {}
    if isinstance(kind, msgspec.inspect.UnionType):
        kind = _member(place, kind)
    if isinstance(kind, msgspec.inspect.Metadata):  # of the member
        kind, about = kind.type, kind.extra_json_schema or {}
    explainer = _EXPLAINERS.get(type(kind))
    if explainer is not None:
        yield from explainer(place, kind, about)


def _member(place: Location, union: msgspec.inspect.UnionType) -> Any:
    """Return the member of a union that a value was meant to be, else the first one."""
    forms = [k for k in union.types if isinstance(k, msgspec.inspect.StructType)]
    if len(forms) > 1:
        return _Tagged(forms)
    fitting = (k for k in union.types if _KINDS.get(type(_bare(k))) is type(place.value))
    return next(fitting, union.types[0])


def _bare(kind: Any) -> Any:
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind


class _Tagged:
    """Forms that are told apart by the value of one key."""

    def __init__(self, forms: list[msgspec.inspect.StructType]) -> None:
        self.field = str(forms[0].tag_field)
        self.forms = {str(form.tag): form for form in forms}


def _tagged(place: Location, kind: _Tagged, about: Mapping[str, Any]) -> Iterator[MlruntimeError]:
    try:
        tag = place.get(kind.field).choice(kind.forms)
    except MlruntimeError as problem:
        yield problem
    else:
        yield from _form(place, kind.forms[tag], about)


def _form(
    place: Location, kind: msgspec.inspect.StructType, _about: Mapping[str, Any]
) -> Iterator[MlruntimeError]:
    fields = {field.encode_name: field for field in kind.fields}
    tag = () if kind.tag_field is None else (kind.tag_field,)
    required = [name for name, field in fields.items() if field.required]
    optional = [name for name, field in fields.items() if not field.required]
    try:
        place.keys((*tag, *required), optional, former=getattr(kind.cls, "FORMER", {}))
    except MlruntimeError as problem:
        yield problem
        return
    for key, item in place.items():
        if key in fields:
            yield from explain(item, fields[key].type)


def _mapping(
    place: Location, kind: msgspec.inspect.DictType, _about: Mapping[str, Any]
) -> Iterator[MlruntimeError]:
    if (wrong := _wrong_type(place, dict)) is not None:
        yield wrong
        return
    for key, item in place.items():
        yield from explain(item.named(key), kind.key_type)
        yield from explain(item, kind.value_type)
    yield from _too_short(place, kind)


def _list(place: Location, kind: Any, _about: Mapping[str, Any]) -> Iterator[MlruntimeError]:
    if (wrong := _wrong_type(place, list)) is not None:
        yield wrong
        return
    for item in place.each():
        yield from explain(item, kind.item_type)
    yield from _too_short(place, kind)


def _too_short(place: Location, kind: Any) -> Iterator[MlruntimeError]:
    if len(place.value) < (kind.min_length or 0):
        yield place.fail("expected at least one, found none")


def _text(
    place: Location, kind: msgspec.inspect.StrType, about: Mapping[str, Any]
) -> Iterator[MlruntimeError]:
    if (wrong := _wrong_type(place, str)) is not None:
        yield wrong
    elif kind.pattern and not re.search(kind.pattern, place.value):
        if not about:
            yield place.fail("expected text, found an empty string")
            return
        example = next(iter(about.get("examples") or ()), None)
        hint = f"for example {example}" if example else None
        yield place.fail(f"{place.value!r} is not {about['description']}", hint=hint)


def _choice(
    place: Location, kind: msgspec.inspect.LiteralType, _about: Mapping[str, Any]
) -> Iterator[MlruntimeError]:
    try:
        place.choice(map(str, kind.values))
    except MlruntimeError as problem:
        yield problem


def _number(
    place: Location, kind: msgspec.inspect.IntType, _about: Mapping[str, Any]
) -> Iterator[MlruntimeError]:
    if (wrong := _wrong_type(place, int)) is not None:
        yield wrong
    elif kind.ge is not None and place.value < kind.ge:
        yield place.fail(f"expected at least {kind.ge}, found {place.value}")
    elif kind.le is not None and place.value > kind.le:
        yield place.fail(f"expected at most {kind.le}, found {place.value}")


def _boolean(place: Location, _kind: Any, _about: Mapping[str, Any]) -> Iterator[MlruntimeError]:
    if (wrong := _wrong_type(place, bool)) is not None:
        yield wrong


def _wrong_type(place: Location, kind: type) -> MlruntimeError | None:
    if type(place.value) is kind:
        return None
    return place.fail(f"expected {kind_of(kind)}, found {kind_of(type(place.value))}")


_EXPLAINERS: Final[dict[type, Callable[[Location, Any, Any], Iterator[MlruntimeError]]]] = {
    _Tagged: _tagged,
    msgspec.inspect.StructType: _form,
    msgspec.inspect.DictType: _mapping,
    msgspec.inspect.ListType: _list,
    msgspec.inspect.VarTupleType: _list,
    msgspec.inspect.StrType: _text,
    msgspec.inspect.LiteralType: _choice,
    msgspec.inspect.IntType: _number,
    msgspec.inspect.BoolType: _boolean,
}
_KINDS: Final[dict[type, type]] = {
    msgspec.inspect.StructType: dict,
    msgspec.inspect.DictType: dict,
    msgspec.inspect.ListType: list,
    msgspec.inspect.VarTupleType: list,
    msgspec.inspect.StrType: str,
    msgspec.inspect.LiteralType: str,
    msgspec.inspect.IntType: int,
    msgspec.inspect.BoolType: bool,
    msgspec.inspect.NoneType: type(None),
}


def json_schema(kind: Any, *, title: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a form, for editors."""
    schema = msgspec.json.schema(kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}
