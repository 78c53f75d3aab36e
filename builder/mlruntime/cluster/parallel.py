"""Dealing with many nodes at the same time, so that Ctrl-C never cuts off a creation half-way."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from mlruntime.cluster.signals import postponed, unimpressed
from mlruntime.engine import Engine

_T = TypeVar("_T")


@contextmanager
def pool_of(size: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool; at the end wait for running jobs, even after another Ctrl-C."""
    pool = ThreadPoolExecutor(max_workers=size)
    try:
        yield pool
    finally:
        with unimpressed():
            pool.shutdown(wait=True, cancel_futures=True)


def submitted(
    pool: ThreadPoolExecutor, call: Callable[..., _T], *words: object, **options: object
) -> "Future[_T]":
    """Submit a call to a pool."""
    # A pool that is interrupted while it starts a thread would not know it, and not wait for it.
    with postponed():
        return pool.submit(call, *words, **options)


def tear_down(engine: Engine, labels: Mapping[str, str]) -> None:
    """Kill and remove all that has these labels, containers in parallel."""
    things = engine.owned(labels)
    containers = [thing for thing in things if thing.kind == "container"]
    if containers:
        with ThreadPoolExecutor(max_workers=len(containers)) as pool:
            list(pool.map(lambda thing: engine.remove([thing]), containers))
    engine.remove(thing for thing in things if thing.kind != "container")
