"""Patches: applied exactly where they say, and refused in words anywhere else."""

import difflib
import gzip
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.ecosystems.native.patching import DoesNotApply, apply_patch, parse_patch
from mlruntime.ecosystems.native.sdist import patched

LINES = st.lists(st.sampled_from(["a", "b", "c", "", "-- x", "+y", " z"]), max_size=12)
BEFORE = "".join(f"line {n}\n" for n in range(1, 21))
AFTER = BEFORE.replace("line 3\n", "line 3\nnew\n").replace("line 15\n", "")


def diff(before: str, after: str, path: str = "x.py", context: int = 3) -> str:
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"a/{path}" if before else "/dev/null",
        f"b/{path}",
        n=context,
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


@given(before=LINES, after=LINES, end=st.booleans(), context=st.integers(0, 4))
def test_what_difflib_takes_apart_is_put_together(
    before: list[str], after: list[str], end: bool, context: int
) -> None:
    old, new = ("\n".join(lines) + "\n" * end for lines in (before, after))
    if old == new or not old:
        return
    assert apply_patch(parse_patch(diff(old, new, context=context)), {"x.py": old}) == {"x.py": new}


def test_a_header_several_files_and_a_new_one() -> None:
    text = "Subject: it\n\nWhy.\n" + diff(BEFORE, AFTER) + diff("", "one\n", "d/new.py")
    parsed = parse_patch(text)
    assert parsed.header == "Subject: it\n\nWhy.\n"
    assert apply_patch(parsed, {"x.py": BEFORE, "y": ""}) == {"x.py": AFTER, "d/new.py": "one\n"}


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (BEFORE.replace("line 14", "line X"), "hunk 2 of x.py: line 14 should be 'line 14', the"),
        ("line 1\n", "hunk 1 of x.py: line 2 should be 'line 2', the file ends before it"),
        ("moved\n" + BEFORE, "hunk 1 of x.py: line 1 should be 'line 1', the file has 'moved'"),
    ],
)
def test_a_line_that_is_not_there_is_named(before: str, said: str) -> None:
    with pytest.raises(DoesNotApply) as caught:
        apply_patch(parse_patch(diff(BEFORE, AFTER)), {"x.py": before})
    assert said in str(caught.value)


def test_files_that_are_there_or_are_not() -> None:
    with pytest.raises(DoesNotApply, match=r"there is no file x\.py"):
        apply_patch(parse_patch(diff(BEFORE, AFTER)), {})
    with pytest.raises(DoesNotApply, match=r"x\.py is there already"):
        apply_patch(parse_patch(diff("", "x\n")), {"x.py": ""})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("only words\n", "it changes no file"),
        ("--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n", "line 2: it deletes a/x"),
        ("--- a/x\n+++ b/y\n@@ -1 +1 @@\n-x\n+y\n", "line 1: a/x and b/y are not one path"),
        ("--- x\n+++ x\n@@ -1 +1 @@\n-x\n+y\n", "line 1: x and x are not one path"),
        ("--- a/x\n+++ b/x\nrubbish\n", "line 3: expected a hunk"),
        ("--- a/x\n+++ b/x\n@@ -1,2 +1 @@\n-x\n+y\n", "line 3: the hunk ends before its last"),
        ("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-x\n+y\nmore\n", "line 6: expected a hunk"),
        ("--- a/x\n+++ b/x\n@@ one @@\n-x\n+y\n", "line 3: not a hunk's first line"),
    ],
)
def test_what_is_no_patch_of_ours(text: str, said: str) -> None:
    with pytest.raises(DoesNotApply) as caught:
        parse_patch(text)
    assert said in str(caught.value)


def sdist(**files: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"toy-1/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    # Without the time in its header: two calls in two seconds must give the same bytes.
    return gzip.compress(target.getvalue(), mtime=0)


def test_an_sdist_is_patched_in_order_and_always_into_the_same_bytes() -> None:
    patches = {
        "1.patch": diff("a\n", "b\n", "x").encode(),
        "2.patch": (diff("b\n", "c\n", "x") + diff("", "new\n", "d/y")).encode(),
    }
    said: list[str] = []
    made = patched(sdist(x="a\n", z="z\n"), patches, said.append)
    assert said == ["1.patch: 1 files", "2.patch: 2 files"]
    with tarfile.open(fileobj=io.BytesIO(made)) as archive:
        found = {m.name: archive.extractfile(m).read() for m in archive.getmembers()}  # type: ignore[union-attr]
        assert len({m.mtime for m in archive.getmembers()}) == 1
    assert found == {"toy-1/x": b"c\n", "toy-1/z": b"z\n", "toy-1/d/y": b"new\n"}
    assert patched(sdist(x="a\n", z="z\n"), patches, said.append) == made
    with pytest.raises(DoesNotApply, match=r"2\.patch does not apply: hunk 1 of x: line 1 should"):
        patched(sdist(x="b\n"), {"2.patch": patches["2.patch"].replace(b"-b", b"-q")}, said.append)
