"""`mlruntime cluster notebook` on a real engine: who gets in, and what a notebook can do there."""

import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from mlruntime.cluster.standing import CLUSTER
from mlruntime.engine import Engine
from mlruntime.engine.archives import packed

from tests.conftest import CHECKOUT, RUNTIMES, mlruntime

# Building an image with all flavours takes minutes: CI has none of them to spare.
pytestmark = [pytest.mark.cluster, pytest.mark.extra]
CELLS = Path(__file__).parent / "inside" / "cells.py"
USER = 1000


def _cluster(*words: str) -> Any:
    return mlruntime(CHECKOUT, "cluster", *words)


@pytest.fixture(scope="module", params=RUNTIMES)
def name(request: pytest.FixtureRequest, engine: Engine) -> Iterator[str]:
    """Start a cluster whose image has JupyterLab."""
    name, flavour = f"test-{os.getpid()}-notebook", ("--flavour", "notebook")
    mlruntime(CHECKOUT, "build", request.param, *flavour, "--load")
    _cluster("up", request.param, *flavour, "--name", name, "--memory", "3g", "--no-class-data")
    yield name
    removed = _cluster("down", name)
    left = engine.owned({CLUSTER: name})
    engine.remove(left)
    assert (removed, left) == ({"removed": [name]}, ())


@pytest.fixture
def opened(name: str) -> Iterator[dict[str, Any]]:
    yield _cluster("notebook", "--spark", "spark.cores.max=2", name)
    _cluster("notebook", "--stop", name)


def _status(address: str, path: str, token: str = "") -> int:
    """Return how JupyterLab answers."""
    known = {"Authorization": f"token {token}"} if token else {}
    request = urllib.request.Request(urlsplit(address)._replace(path=path, query="").geturl())
    request.headers.update(known)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _token(address: str) -> str:
    (token,) = parse_qs(urlsplit(address).query)["token"]
    return token


def _secret(engine: Engine, name: str) -> str:
    master = engine.container(f"mlr-{name}-master")
    text = master.call(["cat", "/etc/spark/spark-defaults.conf"]).tail
    return str(text.partition("spark.authenticate.secret ")[2].split()[0])


def test_a_notebook_computes_on_the_workers_and_trains(
    opened: dict[str, Any], name: str, engine: Engine
) -> None:
    address, token = opened["address"], _token(opened["address"])
    assert urlsplit(address).hostname == "127.0.0.1"
    assert [_status(address, "/api/contents", t) for t in ("", "x", token)] == [403, 403, 200]
    node = engine.container(f"mlr-{name}-notebook")
    node.put("/home/ml", b"".join(packed({"cells.py": CELLS}, user=USER)))
    done = node.call(["python", "/home/ml/cells.py"])
    assert done.tail.splitlines()[-3:] == [
        "sum 780 here False", "setting 2", "ranks (3.0, 2)",
    ], done.tail  # fmt: skip
    told = subprocess.run(["ps", "axeww"], capture_output=True, text=True).stdout
    told += repr(node.inspect())  # type: ignore[attr-defined]
    told += "\n".join(node.logs(tail=10_000))
    told += repr([_cluster("status", name), _cluster("list")])
    assert token not in told
    assert _secret(engine, name) not in told
    status = node.call(["cat", "/proc/self/status"]).tail
    assert "CapBnd:\t0000000000000000" in status and "NoNewPrivs:\t1" in status


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_it_comes_back_with_its_files_and_another_token(
    opened: dict[str, Any], name: str, engine: Engine, how: str
) -> None:
    node = engine.container(f"mlr-{name}-notebook")
    node.put("/home/ml", b"".join(packed({"kept.txt": b"kept"}, user=USER)))
    if how == "killed":
        node.kill()
    else:
        node.call(["pkill", "-9", "-f", "jupyter-lab"])
    again = _cluster("notebook", name)
    assert not again["started"]
    old, new = _token(opened["address"]), _token(again["address"])
    assert old != new
    found = [_status(again["address"], "/api/contents/kept.txt", t) for t in (old, new)]
    assert found == [403, 200]
