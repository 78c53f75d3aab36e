"""Running checks one after another and saying, line by line, how each one ended.

Nothing here imports Spark, numpy or TensorFlow: a broken one must fail its checks, not this.
"""

import importlib
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

_LINES = 40


class Mismatch(Exception):
    """What a check computed is not what it should be."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What the validator knows about the cluster and wants every node to agree with.

    ``image`` is ``None`` for a cluster whose images cannot be known; otherwise ``node_images``
    says, by host name, which image each node really runs. ``contract`` is what the image asks of
    its hosts' GPUs, if it needs any; ``settings`` are those with which an application gets all that
    the cluster has. Time limits within checks are to be multiplied by ``time_factor``.
    ``environment`` is the directory of one that is checked without a container; ``None``: an image.
    ``jars`` are those of the lock, with their sha256, by file name; ``s3`` is a server to try:
    endpoint, bucket, key and secret.
    """

    master: str
    workers: int
    worker_hosts: tuple[str, ...]
    driver_host: str
    python_packages: Mapping[str, str]
    components: Mapping[str, str]
    java: str
    image: str | None
    node_images: Mapping[str, str]
    shared: str
    contract: Mapping[str, Any] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    time_factor: float = 1.0
    environment: str | None = None
    jars: Mapping[str, str] = field(default_factory=dict)
    s3: Mapping[str, str] | None = None

    @property
    def root(self) -> str:
        """What is before the path of a file of the image's system, such as ``/etc/spark``."""
        return self.environment or ""

    @property
    def prefix(self) -> str:
        """Where the Python packages are."""
        return self.environment or "/opt/ml"

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> "Expectation":
        """Read the validator's JSON; raises ``KeyError`` for what is missing."""
        return cls(
            master=data["master"],
            workers=data["workers"],
            worker_hosts=tuple(data["worker_hosts"]),
            driver_host=data["driver_host"],
            python_packages=dict(data["python_packages"]),
            components=dict(data["components"]),
            java=str(data["java"]),
            image=data["image"],
            node_images=dict(data.get("node_images", {})),
            shared=data.get("shared", "/shared"),
            contract=data.get("contract"),
            settings=dict(data.get("settings", {})),
            time_factor=float(data.get("time_factor", 1)),
            environment=data.get("environment"),
            jars=dict(data.get("jars", {})),
            s3=data.get("s3"),
        )


@dataclass(kw_only=True)
class Proof:
    """The comparisons a check has made; the first that fails ends the check."""

    detail: dict[str, Any] = field(default_factory=dict)
    comparisons: int = 0

    def note(self, name: str, value: Any) -> None:
        """Record a number without judging it."""
        self.detail[name] = _plain(value)

    def equal(self, name: str, got: Any, want: Any) -> None:
        """Demand that two values are the same."""
        got, want = _plain(got), _plain(want)
        self._compared(name, got, want, got == want)

    def close(self, name: str, got: Any, want: Any, *, within: float) -> None:
        """Demand that every number differs by at most ``within`` from its counterpart.

        Not-a-number is never close to anything; different shapes are never close.
        """
        got, want = _plain(got), _plain(want)
        distance = _distance(got, want)
        self._compared(name, got, want, distance <= within, distance=distance, within=within)

    def above(self, name: str, got: float, limit: float) -> None:
        """Demand a number greater than ``limit``."""
        got = _plain(got)
        self._compared(name, got, f"> {limit}", got > limit)

    def below(self, name: str, got: float, limit: float) -> None:
        """Demand a number smaller than ``limit``."""
        got = _plain(got)
        self._compared(name, got, f"< {limit}", got < limit)

    def _compared(self, name: str, got: Any, want: Any, good: bool, **more: Any) -> None:
        self.comparisons += 1
        self.detail[name] = {"got": got, "want": want, **more}
        if not good:
            raise Mismatch(f"{name}: got {_short(got)}, want {_short(want)}")


def _plain(value: Any) -> Any:
    """Return numpy values and tuples as plain Python numbers, lists and text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(_plain(one) for one in value)
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


def _distance(got: Any, want: Any) -> float:
    if isinstance(got, list) and isinstance(want, list):
        if len(got) != len(want):
            return math.inf
        return max((_distance(a, b) for a, b in zip(got, want, strict=True)), default=0.0)
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (got, want))
    difference = abs(got - want) if numbers else math.inf
    return math.inf if math.isnan(difference) else float(difference)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 400 else f"{text[:400]}…"


Check = Callable[[Any, Proof], None]
"""A check: takes the cluster and a proof to fill, and raises when something is wrong."""


def find(name: str) -> Check:
    """Return the function of check ``family.detail``: ``detail`` in ``check_family``."""
    family, _, detail = name.partition(".")
    module = importlib.import_module(f"{__package__}.check_{family}")
    check: Check = getattr(module, detail)
    return check


def run(
    names: Iterable[str], cluster: Any, out: IO[str], lookup: Callable[[str], Check] = find
) -> None:
    """Run the checks in turn, writing the events of each to ``out`` as it happens."""
    for name in names:
        _write(out, {"event": "start", "check": name})
        _write(out, {"event": "end", "check": name, **_run_one(name, cluster, lookup)})
    _write(out, {"event": "done"})


def _run_one(name: str, cluster: Any, lookup: Callable[[str], Check]) -> dict[str, Any]:
    proof, error = Proof(), None
    start = time.perf_counter()
    try:
        lookup(name)(cluster, proof)
        if proof.comparisons == 0:
            raise Mismatch("the check ended without comparing anything")
    except KeyboardInterrupt:
        raise
    except Mismatch as mismatch:
        error = str(mismatch)
    except BaseException as problem:  # a check that calls exit() has failed, too
        error = _describe(problem)
    return {
        "status": "passed" if error is None else "failed",
        "seconds": round(time.perf_counter() - start, 3),
        "detail": proof.detail,
        "error": error,
    }


def _describe(problem: BaseException) -> str:
    """Return one line that says what happened, then the end of the traceback."""
    headline = f"{type(problem).__name__}: {problem}".splitlines()[0]
    lines = "".join(traceback.format_exception(problem)).strip().splitlines()
    return "\n".join([headline, *lines[-_LINES:]])


def _write(out: IO[str], event: Mapping[str, Any]) -> None:
    out.write(json.dumps(_finite(event), ensure_ascii=False) + "\n")
    out.flush()


def _finite(value: Any) -> Any:
    """Return ``value`` without the floats that JSON has no word for."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value


def claim_stdout() -> IO[str]:
    """Return the real stdout for events only; whatever else is printed goes to stderr.

    This works on the descriptor, so that the JVM and native libraries cannot write between
    the events either.
    """
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(saved, "w", encoding="utf-8")
