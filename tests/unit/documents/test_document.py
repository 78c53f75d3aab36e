import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.documents.reading import canonical_json, did_you_mean, read_json, read_yaml
from mlruntime.errors import InvalidDefinition, InvalidLock


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: [1, 2", "f.yaml:2:1", "not valid YAML"),
        ("a: 1\na: 2\n", "f.yaml:2:1", "key 'a' twice"),
        ("a:\n\t- b\n", "f.yaml:2:1", "not valid YAML"),
    ],
)
def test_malformed_yaml_says_line_and_column(text: str, where: str, what: str) -> None:
    with pytest.raises(InvalidDefinition) as failure:
        read_yaml(text, file="f.yaml")
    assert failure.value.where == where
    assert what in failure.value.what


def test_malformed_json_says_line_and_column() -> None:
    with pytest.raises(InvalidLock) as failure:
        read_json('{"a": 1,\n "b" 2}', file="lock.json", error=InvalidLock)
    assert failure.value.where == "lock.json:2:6"


def test_versions_and_dates_stay_text() -> None:
    place = read_yaml("version: 2.10\ndate: 2026-11-22\ncount: 3\nflag: true\n", file="f")
    assert place.get("version").text() == "2.10"
    assert place.get("date").text() == "2026-11-22"
    assert place.get("count").integer() == 3
    assert place.get("flag").boolean() is True


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 3", "a whole number"),
        ("a:", "nothing"),
        ("a: [x]", "a list"),
        ("a: true", "true or false"),
    ],
)
def test_a_wrong_type_is_named_in_its_place(text: str, found: str) -> None:
    with pytest.raises(InvalidDefinition, match=f"f: a: expected text, found {found}"):
        read_yaml(text, file="f").get("a").text()


def test_a_boolean_is_not_a_number() -> None:
    with pytest.raises(InvalidDefinition, match="expected a whole number"):
        read_yaml("a: true", file="f").get("a").integer()


def test_the_path_goes_through_lists_and_mappings() -> None:
    place = read_yaml("rules:\n- requires:\n    a: ['', x]\n", file="f")
    first = next(place.get("rules").each())
    with pytest.raises(InvalidDefinition) as failure:
        first.get("requires").get("a").texts()
    assert failure.value.where == "f: rules[0].requires.a[0]"


def test_unknown_and_missing_keys() -> None:
    place = read_yaml("a: {sorce: x}", file="f").get("a")
    with pytest.raises(InvalidDefinition) as failure:
        place.keys(("source",))
    assert str(failure.value) == "f: a.sorce: unknown key 'sorce'\n  try: did you mean 'source'?"
    with pytest.raises(InvalidDefinition, match="f: a: missing key 'date'"):
        place.keys(("sorce", "date"))


def test_a_key_that_is_not_text() -> None:
    with pytest.raises(InvalidDefinition, match="key 3 is not text"):
        dict(read_yaml("3: x", file="f").items())


def test_no_near_miss_lists_what_is_known() -> None:
    assert did_you_mean("zzz", ["beta", "alpha"]) == "known: alpha, beta"
    assert did_you_mean("zzz", []) == "known: nothing"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_canonical_json_is_json(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


def test_canonical_json_does_not_depend_on_order() -> None:
    assert (
        canonical_json({"b": 1, "a": "é"})
        == canonical_json({"a": "é", "b": 1})
        == '{"a":"é","b":1}'
    )
