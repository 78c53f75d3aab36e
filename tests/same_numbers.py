"""Whether two reports of `mlruntime validate` say that the same was computed, number by number."""

import math
from collections.abc import Iterator
from typing import Any, Final

# What is asked about a machine or an image, not computed.
_OF_A_MACHINE: Final = ("identity", "image", "static", "gpu")
# Starts from random weights: ranks are compared with each other, not with a known number.
_RANDOM: Final = ("horovod.keras",)
# How long it took, on which nodes, how far from what was wanted, and where its libraries are.
_ELSEWHERE: Final = frozenset({"seconds", "hosts", "distance", "libraries"})
# Two processors, or one with other threads, may round the last digits otherwise.
_RELATIVE, _ABSOLUTE = 1e-6, 1e-9


def compared(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the numbers of each check that passed: by their names, those of all nodes together."""
    nodes = _nodes(report)
    found = {}
    for check in report["checks"]:
        family = check["name"].partition(".")[0]
        if check["status"] != "passed" or family in _OF_A_MACHINE or check["name"] in _RANDOM:
            continue
        told: dict[str, Any] = {}
        for name, value in check["detail"].items():
            own = next((n for n in nodes if name.startswith(f"{n}.")), "")
            told[name.removeprefix(f"{own}.")] = value
        found[check["name"]] = told
    return found


def _nodes(report: dict[str, Any]) -> tuple[str, ...]:
    identity = next(check for check in report["checks"] if check["name"] == "identity.nodes")
    ends = ".python"
    return tuple(name.removesuffix(ends) for name in identity["detail"] if name.endswith(ends))


def differences(ours: Any, theirs: Any, where: str = "") -> Iterator[str]:
    """Yield each number, text or name that is in one and not so in the other."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted(ours.keys() | theirs.keys()):
            path = f"{where}/{name}"
            if name.rpartition(".")[2] in _ELSEWHERE:
                continue
            if name not in ours or name not in theirs:
                yield f"{path}: only in one"
            else:
                yield from differences(ours[name], theirs[name], path)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{where}/{at}")
    elif isinstance(ours, float | int) and isinstance(theirs, float | int):
        if not math.isclose(ours, theirs, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE):
            yield f"{where}: {ours} and {theirs}"
    elif ours != theirs:
        yield f"{where}: {ours!r} and {theirs!r}"
