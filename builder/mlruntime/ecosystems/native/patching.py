"""Unified diffs, applied exactly: no fuzz, no offset, no missing file. Core: no I/O.

A patch tool that guesses would let a patch land somewhere else in a newer release. Here a line
that is not where the patch says is an error that names the file, the hunk and the line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NOTHING = "/dev/null"


class DoesNotApply(ValueError):
    """A patch does not fit; the message says where, in one sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hunk:
    """One place of a file: lines from ``start`` (1 is the first) are replaced.

    ``old`` and ``new`` are lines with their line ends.
    """

    start: int
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FilePatch:
    """What a patch does to one file; ``created`` when it must not be there before."""

    path: str
    created: bool
    hunks: tuple[Hunk, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """A patch: the text before the first file, and the files."""

    header: str
    files: tuple[FilePatch, ...]


def parse_patch(text: str) -> Patch:
    """Read a unified diff with ``a/`` and ``b/`` before its paths.

    Raises ``DoesNotApply`` for anything but additions of files and changes in them: a patch that
    deletes, renames or changes modes is not one of ours.
    """
    lines = _lines(text)
    starts = [
        number
        for number, line in enumerate(lines[:-1])
        if line.startswith("--- ") and lines[number + 1].startswith("+++ ")
    ]
    if not starts:
        raise DoesNotApply("it changes no file")
    ends = [*starts[1:], len(lines)]
    files = tuple(_file(lines[a:b], a) for a, b in zip(starts, ends, strict=True))
    return Patch(header="".join(lines[: starts[0]]), files=files)


def apply_patch(patch: Patch, files: Mapping[str, str]) -> dict[str, str]:
    """Return the files that a patch changes, by path, as they are afterwards.

    ``files`` has at least all those it changes. Raises ``DoesNotApply``.
    """
    changed: dict[str, str] = {}
    for file in patch.files:
        before = changed.get(file.path, files.get(file.path))
        if file.created and before is not None:
            raise DoesNotApply(f"{file.path} is there already")
        if not file.created and before is None:
            raise DoesNotApply(f"there is no file {file.path}")
        changed[file.path] = _changed(file, before or "")
    return changed


def _lines(text: str) -> list[str]:
    # str.splitlines would also split at a form feed, which patch tools do not.
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _file(lines: list[str], offset: int) -> FilePatch:
    old, new = (line[4:].split("\t")[0].strip() for line in lines[:2])
    if new == _NOTHING:
        raise DoesNotApply(f"line {offset + 2}: it deletes {old}")
    if not new.startswith("b/") or old not in (_NOTHING, f"a/{new[2:]}"):
        raise DoesNotApply(f"line {offset + 1}: {old} and {new} are not one path below a/ and b/")
    hunks, at = [], 2
    while at < len(lines) and lines[at].startswith("@@"):
        hunk, at = _hunk(lines, at, offset)
        hunks.append(hunk)
    rest = [
        line for line in lines[at:] if line.strip() and not line.startswith(("diff ", "index "))
    ]
    if not hunks or (rest and rest[0] != "-- \n"):
        raise DoesNotApply(f"line {offset + at + 1}: expected a hunk (@@ … @@)")
    return FilePatch(path=new[2:], created=old == _NOTHING, hunks=tuple(hunks))


def _hunk(lines: list[str], at: int, offset: int) -> tuple[Hunk, int]:
    match = _HUNK.match(lines[at])
    if not match:
        raise DoesNotApply(f"line {offset + at + 1}: not a hunk's first line")
    start, old_count, _, new_count = (
        1 if group is None else int(group) for group in match.groups()
    )
    first, old, new = at, list[str](), list[str]()
    at += 1
    while len(old) < old_count or len(new) < new_count:
        line = lines[at] if at < len(lines) else ""
        kind, content = line[:1], line[1:]
        if kind not in (" ", "-", "+"):
            raise DoesNotApply(f"line {offset + first + 1}: the hunk ends before its last line")
        if kind != "+":
            old.append(content)
        if kind != "-":
            new.append(content)
        at += 1
        if at < len(lines) and lines[at].startswith("\\"):  # "No newline at end of file"
            for side in [old] * (kind != "+") + [new] * (kind != "-"):
                side[-1] = side[-1].removesuffix("\n")
            at += 1
    if (len(old), len(new)) != (old_count, new_count):
        raise DoesNotApply(f"line {offset + first + 1}: the hunk has not as many lines as it says")
    return Hunk(start=start, old=tuple(old), new=tuple(new)), at


def _changed(file: FilePatch, before: str) -> str:
    lines, at = _lines(before), 0
    result: list[str] = []
    for number, hunk in enumerate(file.hunks, 1):
        begin = hunk.start - 1 if hunk.old else hunk.start
        there = lines[begin : begin + len(hunk.old)]
        if begin < at or tuple(there) != hunk.old:
            raise DoesNotApply(f"hunk {number} of {file.path}: {_difference(hunk, there, begin)}")
        result += [*lines[at:begin], *hunk.new]
        at = begin + len(hunk.old)
    return "".join([*result, *lines[at:]])


def _difference(hunk: Hunk, there: list[str], begin: int) -> str:
    for number, wanted in enumerate(hunk.old):
        found = there[number] if number < len(there) else None
        if found != wanted:
            has = "the file ends before it" if found is None else f"the file has {found.strip()!r}"
            return f"line {begin + number + 1} should be {wanted.strip()!r}, {has}"
    return f"it begins at line {begin + 1}, before the end of the hunk above"
