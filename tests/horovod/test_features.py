"""The patched Horovod in the image: every feature on two ranks, compared by numbers.

What a rank computes is compared with the other ranks and with one process that sees the whole
batch. Costs about three minutes a runtime on two cores, the image apart.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlruntime.engine import Engine, Mount
from mlruntime.lock.model import Lock

from tests.conftest import CHECKOUT, RUNTIMES, Runtime, read_lock

PROGRAMS = Path(__file__).parent / "programs"
SECONDS = 900


PATCHED = [name for name in RUNTIMES if "+mlr." in read_lock(CHECKOUT, name).component("horovod")]


@pytest.fixture(scope="module", params=PATCHED)
def image(request: pytest.FixtureRequest, ready: Callable[..., Runtime]) -> tuple[str, Lock]:
    """Return the image of a runtime with a patched Horovod, and its lock."""
    runtime = ready(request.param)
    return runtime.image, runtime.lock


def on_two_ranks(engine: Engine, image: str, **environment: str) -> list[dict[str, Any]]:
    """Return what rank 0 said: how many checks there are, then one result for each."""
    lines: list[str] = []
    engine.run(
        image,
        ["horovodrun", "-np", "2", "--gloo", "--disable-cache", "python", "/programs/run.py"],
        mounts=[Mount(source=str(PROGRAMS), target="/programs", kind="bind", read_only=True)],
        hostname="localhost",  # Gloo looks it up, and there is no network
        environment=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        timeout=SECONDS,
        on_line=lines.append,
    )
    found = [line[line.index("{") :] for line in lines if line.startswith("[0]<stdout>:{")]
    assert found, "\n".join(lines[-40:])
    return [json.loads(line) for line in found]


@pytest.mark.engine
@pytest.mark.cluster
@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="keras"),
        pytest.param({"TF_USE_LEGACY_KERAS": "1"}, id="tf-keras", marks=pytest.mark.extra),
        # Keras 3 asks for XLA by itself where there is a GPU, and only there.
        pytest.param({"KERAS_ASKS_FOR_XLA": "1"}, id="keras-with-xla", marks=pytest.mark.extra),
    ],
)
def test_every_feature_on_two_ranks(
    engine: Engine, image: tuple[str, Lock], environment: dict[str, str]
) -> None:
    reference, lock = image
    components = dict(lock.components)
    if "TF_USE_LEGACY_KERAS" in environment and "tf-keras" not in components:
        pytest.skip(f"not run: {lock.runtime} has no tf-keras")
    if "KERAS_ASKS_FOR_XLA" in environment and components["keras"].startswith("2."):
        pytest.skip(f"not run: {lock.runtime} has Keras 2, which never asks for XLA by itself")
    first, *results = on_two_ranks(engine, reference, **environment)
    assert {r["check"]: r["failed"] for r in results if r["failed"]} == {}
    assert [r["check"] for r in results] == first["checks"]
    assert len(results) > 20


ELASTIC = """
cd /tmp && echo localhost:1 > hosts && printf '#!/bin/sh\\ncat /tmp/hosts\\n' > discover
chmod +x discover
horovodrun -np 1 --min-np 1 --max-np 2 --gloo --gloo-timeout-seconds 300 --network-interface lo \
    --host-discovery-script /tmp/discover python /programs/elastic.py /tmp/hosts /tmp/result
echo "RESULT $(cat /tmp/result)"
"""


@pytest.mark.engine
@pytest.mark.cluster
def test_a_rank_joins_an_elastic_training(engine: Engine, image: tuple[str, Lock]) -> None:
    lines: list[str] = []
    engine.run(
        image[0],
        ["sh", "-c", ELASTIC],
        mounts=[Mount(source=str(PROGRAMS), target="/programs", kind="bind", read_only=True)],
        hostname="localhost",  # Gloo looks it up, and there is no network
        environment={"PYTHONDONTWRITEBYTECODE": "1"},
        timeout=SECONDS,
        on_line=lines.append,
    )
    # An engine keeps no order between the two streams: it need not be the last line.
    (found,) = (line for line in lines if line.startswith("RESULT "))
    said = "\n".join(lines)
    assert found != "RESULT ", said
    result = json.loads(found.removeprefix("RESULT "))
    assert result == {"sizes": [1, 2, 2, 2, 2, 2], "apart": 0.0}, said


@pytest.mark.engine
def test_check_build_tells_the_truth(engine: Engine, image: tuple[str, Lock]) -> None:
    reference, lock = image
    said = engine.run(reference, ["horovodrun", "--check-build"], timeout=120).tail
    assert f"Horovod v{lock.component('horovod')}:" in said
    marked = [line.strip() for line in said.splitlines() if line.strip().startswith("[X]")]
    assert marked == ["[X] TensorFlow", "[X] Gloo", "[X] Gloo"]


@pytest.mark.engine
def test_the_wheel_says_what_it_is(engine: Engine, image: tuple[str, Lock]) -> None:
    reference, lock = image
    program = (
        "import importlib.metadata as m, horovod; "
        "print(m.version('horovod'), horovod.__version__, m.metadata('horovod')['Version'])"
    )
    said = engine.run(reference, ["python", "-c", program], timeout=120).tail.split()
    assert said == [lock.component("horovod")] * 3
