"""Why a combination broke, found from an error and a log. Core: no I/O."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mlruntime.errors import (
    ArtifactNotFound,
    CommandFailed,
    HashMismatch,
    MlruntimeError,
    NoCompatibleVersions,
)
from mlruntime.resolve.resolution import NoSolution

LAST_LINES: Final = 20
# Messages of compilers, patch and the kernel, in order: the first that matches is the cause.
_SIGNS: Final = (
    (
        "out of memory",
        re.compile(
            r"Killed signal terminated program|virtual memory exhausted|Cannot allocate memory"
            r"|std::bad_alloc|out of memory|Error 137\b|exit(ed with|_code|ed)? 137\b"
        ),
    ),
    (
        "a patch does not apply",
        re.compile(
            r"\.patch does not apply|Hunk #\d+ FAILED|hunks? FAILED|can't find file to patch"
            r"|malformed patch|Reversed \(or previously applied\) patch detected"
        ),
    ),
    ("no disk space", re.compile(r"No space left on device")),
    (
        "does not compile",
        re.compile(r"(?:fatal )?error: |undefined reference|CMake Error|Error \d+$"),
    ),
)
_KINDS: Final = (
    (NoCompatibleVersions, "no compatible versions"),
    (ArtifactNotFound, "not in the registry"),
    (HashMismatch, "another file than was locked"),
)
# Lines that gcc prints before the error and that mean nothing alone.
_NOISE: Final = re.compile(r"^\s*(subprocess\.CalledProcessError|Traceback|File \"|raise |note:)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """How a stage failed: what kind of failure, in a sentence, and the lines that show it.

    ``log`` is the full path of the log, if there is one.
    """

    stage: str
    kind: str
    what: str
    lines: tuple[str, ...]
    log: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "stage": self.stage,
            "kind": self.kind,
            "what": self.what,
            "lines": list(self.lines),
            "log": self.log,
        }


def diagnose(stage: str, error: MlruntimeError, log: Sequence[str], path: str | None) -> Failure:
    """Return what an error amounts to; ``log`` are the log's lines, ``path`` its full path.

    ``lines`` are the first line that tells the cause, if one does, and the log's last.
    """
    if isinstance(error, NoSolution):
        rules = "; ".join(f"{rule.says} [{rule.id}]" for rule in error.conflict.rules)
        what = rules or error.what.splitlines()[-1]
        told = tuple(error.what.splitlines())
        return Failure(stage=stage, kind="ruled out", what=what, lines=told, log=path)
    kind, cause = _of(stage, error, log)
    said = str(error.what).strip().splitlines()
    lines = list(log[-LAST_LINES:]) or (error.why or "").splitlines()
    if cause is not None and cause not in lines:
        lines = [cause, "…", *lines]
    return Failure(stage=stage, kind=kind, what=said[0], lines=tuple(lines), log=path)


def _of(stage: str, error: MlruntimeError, log: Sequence[str]) -> tuple[str, str | None]:
    for known, kind in _KINDS:
        if isinstance(error, known):
            return kind, None
    if stage != "build" or not isinstance(error, CommandFailed):
        return f"{stage} failed", None
    lines = [*log, *(error.why or "").splitlines(), error.what]
    for kind, sign in _SIGNS:
        for line in lines:
            if sign.search(line) and not _NOISE.match(line):
                return kind, line.strip()
    return f"{stage} failed", None
