"""Strict reading of hand-written and generated documents (YAML, JSON).

A ``Location`` walks a parsed document and knows where it stands, so that every complaint names
the exact spot (``rules[12].requires``). Keys nobody asked for are errors with a "did you mean".
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlruntime.errors import InvalidDefinition, MlruntimeError

_NAMES = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number with a fraction",
    bool: "true or false",
    type(None): "nothing",
}


def kind_of(kind: type) -> str:
    """Return what messages call values of a type."""
    return _NAMES.get(kind, "something else")


class Location:
    """One value of a document together with the path that leads to it.

    Every accessor raises ``error`` (``InvalidDefinition`` unless told otherwise) naming file
    and path when the value is absent or of the wrong type.
    """

    __slots__ = ("_error", "_path", "file", "value")

    def __init__(
        self,
        value: Any,
        *,
        file: str,
        path: str = "",
        error: type[MlruntimeError] = InvalidDefinition,
    ) -> None:
        self.value = value
        self.file = file
        self._path = path
        self._error = error

    @property
    def where(self) -> str:
        """``file: path``, or just the file at the top of the document."""
        return f"{self.file}: {self._path}" if self._path else self.file

    def fail(self, what: str, *, why: str | None = None, hint: str | None = None) -> MlruntimeError:
        """Return (not raise) the error for this place."""
        return self._error(what, where=self.where, why=why, hint=hint)

    def _typed(self, kind: type) -> Any:
        if type(self.value) is not kind:
            raise self.fail(f"expected {_NAMES[kind]}, found {kind_of(type(self.value))}")
        return self.value

    def _child(self, value: Any, step: str) -> "Location":
        path = (
            f"{self._path}{step}"
            if step.startswith("[") or not self._path
            else f"{self._path}.{step}"
        )
        return Location(value, file=self.file, path=path.lstrip("."), error=self._error)

    def named(self, value: str) -> "Location":
        """Return this place with the key that led here as its value, to speak of that."""
        return Location(value, file=self.file, path=self._path, error=self._error)

    def text(self) -> str:
        """Return a non-empty string."""
        value: str = self._typed(str)
        if not value.strip():
            raise self.fail("expected text, found an empty string")
        return value

    def integer(self) -> int:
        """Return a whole number (never a boolean)."""
        return int(self._typed(int))

    def boolean(self) -> bool:
        """Return true or false."""
        return bool(self._typed(bool))

    def choice(self, allowed: Iterable[str]) -> str:
        """Return a string that is one of ``allowed``."""
        value, known = self.text(), tuple(allowed)
        if value not in known:
            raise self.fail(f"unknown value {value!r}", hint=did_you_mean(value, known))
        return value

    def keys(
        self,
        required: Iterable[str] = (),
        optional: Iterable[str] = (),
        former: Mapping[str, str] | None = None,
    ) -> None:
        """Check that this is a mapping with all ``required`` and only ``optional`` other keys.

        ``former`` maps what keys were called once to what they are called now.
        """
        mapping, needed = self._typed(dict), tuple(required)
        known = (*needed, *optional)
        for key in mapping:
            if former and (now := former.get(key)):
                raise self._child(None, key).fail(
                    f"key {key!r} is called {now!r} now", hint=f"write {now!r} instead"
                )
            if key not in known:
                raise self._child(None, str(key)).fail(
                    f"unknown key {key!r}", hint=did_you_mean(str(key), known)
                )
        for key in needed:
            if key not in mapping:
                raise self.fail(f"missing key {key!r}")

    def get(self, key: str) -> "Location":
        """Return the value under ``key``; the key must be there."""
        mapping = self._typed(dict)
        if key not in mapping:
            raise self.fail(f"missing key {key!r}")
        return self._child(mapping[key], key)

    def maybe(self, key: str) -> "Location | None":
        """Return the value under ``key``, or ``None`` when absent or null."""
        mapping = self._typed(dict)
        return self._child(mapping[key], key) if mapping.get(key) is not None else None

    def items(self) -> Iterator[tuple[str, "Location"]]:
        """Iterate over a mapping whose keys are strings, in the document's order."""
        for key, value in self._typed(dict).items():
            if not isinstance(key, str):
                raise self.fail(f"key {key!r} is not text", hint=f'write "{key}" in quotes')
            yield key, self._child(value, key)

    def at(self, index: int) -> "Location":
        """Return one item of a list, which must be there."""
        return self._child(self._typed(list)[index], f"[{index}]")

    def each(self) -> Iterator["Location"]:
        """Iterate over a list."""
        for index, value in enumerate(self._typed(list)):
            yield self._child(value, f"[{index}]")

    def texts(self) -> tuple[str, ...]:
        """Return a list of non-empty strings."""
        return tuple(item.text() for item in self.each())


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?" for a near miss, else the list of what is known."""
    options = sorted(known)
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(options) or 'nothing'}"


def read_yaml(text: str, *, file: str, error: type[MlruntimeError] = InvalidDefinition) -> Location:
    """Parse YAML; malformed text raises ``error`` with line and column."""
    from mlruntime.documents.yaml_loader import NotYaml, load_yaml  # not for verbs without YAML

    try:
        value = load_yaml(text)
    except NotYaml as problem:
        where = f"{file}:{problem.line}:{problem.column}" if problem.line else file
        raise error(f"not valid YAML: {problem.what}", where=where) from None
    return Location(value, file=file, error=error)


def read_json(text: str, *, file: str, error: type[MlruntimeError] = InvalidDefinition) -> Location:
    """Parse JSON; malformed text raises ``error`` with line and column."""
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as problem:
        where = f"{file}:{problem.lineno}:{problem.colno}"
        what = problem.msg.removesuffix(" at")
        raise error(f"not valid JSON: {what}", where=where) from None
    except (ValueError, RecursionError) as problem:
        raise error(f"not valid JSON: {problem}", where=file) from None
    return Location(value, file=file, error=error)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(n for n in names if names.count(n) > 1)!r} twice")
    return made


def canonical_json(value: Any) -> str:
    """Return ``value`` as JSON with sorted keys and no spaces: digests are made of that."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
