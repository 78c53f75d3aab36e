"""Each row of the table in docs/horovod.md has checks, and they run with the Keras it promises."""

import ast
import re

from tests.documents import CHECKOUT, text_of

ROW = re.compile(r"^\| (.+?) \| (yes|no|-) \| (yes|no|-) \| (yes|no|-) \| (.+?) \|$", re.MULTILINE)
PROGRAMS = CHECKOUT / "tests" / "horovod" / "programs"


def checks() -> dict[str, bool]:
    """Return the checks by name, and whether they run with Keras 2, too."""
    found = {}
    for path in PROGRAMS.glob("check_*.py"):
        for function in ast.parse(text_of(path)).body:
            if not isinstance(function, ast.FunctionDef):
                continue
            for call in function.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "check":
                    options = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
                    found[function.name] = bool(options.get("legacy", True))
    return found


def rows() -> list[tuple[str, tuple[str, ...], list[str]]]:
    page = text_of(CHECKOUT / "docs" / "horovod.md")
    return [
        (feature, tuple(told), re.findall(r"`(\w+)`", named))
        for feature, *told, named in ROW.findall(page)
    ]


def test_every_check_is_in_the_table_and_every_row_has_one() -> None:
    table = rows()
    assert len(table) > 30
    named = {name for _, _, names in table for name in names}
    assert named == set(checks())
    assert [feature for feature, _, names in table if not names] == []


def test_what_a_row_promises_is_run_with_that_keras() -> None:
    with_keras_2 = checks()
    for feature, (keras2, keras3, tf_keras), names in rows():
        assert keras3 == "yes", feature
        run = any(with_keras_2[name] for name in names)
        assert (keras2 == "yes", tf_keras == "yes") == (run, run), feature
