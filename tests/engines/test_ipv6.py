"""A cluster whose network has IPv6 only: Spark's own parts, and ranks of HorovodRunner."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.conftest import RUNTIME, mlruntime
from tests.engines.conftest import Other

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.extra,
    pytest.mark.parametrize("other", ["containerd"], indirect=True),
]

PROGRAM = Path(__file__).parent / "programs" / "ranks.py"
MASTER = "spark://master:7077"
_CLASS = "spark-class org.apache.spark.deploy"


@pytest.fixture
def api(other: Other) -> Iterator[Any]:
    client = docker.DockerClient(other.host, timeout=600)
    yield client
    client.close()


def test_ranks_find_each_other_over_ipv6(
    other: Other, api: Any, definitions: Callable[[str], Path]
) -> None:
    root = definitions(RUNTIME)
    built = mlruntime(root, "build", RUNTIME, "--variant", "cpu", "--load", DOCKER_HOST=other.host)
    network = {
        "Name": "six",
        "EnableIPv4": False,
        "EnableIPv6": True,
        "IPAM": {"Config": [{"Subnet": "fd00:5::/64"}]},
    }
    low = api.api
    low._raise_for_status(low._post_json(low._url("/networks/create"), data=network))
    containers = []

    def start(name: str, command: str) -> Any:
        made = api.containers.create(
            built["image_id"], ["sleep", "infinity"], name=name, hostname=name, network="six"
        )
        containers.append(made)
        made.start()
        made.exec_run(["sh", "-c", command], detach=True)
        return made

    try:
        master = start("master", f"{_CLASS}.master.Master --host master")
        for worker in ("a", "b"):
            words = f"--cores 1 --memory 2g --host {worker} {MASTER}"
            start(worker, f"{_CLASS}.worker.Worker {words}")
        addresses = master.exec_run(["getent", "ahosts", "a"]).output.decode().split()
        assert {one for one in addresses if one.startswith("fd00:5:")}
        assert not {one for one in addresses if one.count(".") == 3}
        program = PROGRAM.read_text()
        code, output = master.exec_run(
            ["sh", "-c", f'echo "$PROGRAM" >/tmp/ranks.py && spark-submit --master {MASTER} '
             "--conf spark.driver.host=master --conf spark.executor.memory=1g /tmp/ranks.py"],
            environment={"PROGRAM": program},
        )  # fmt: skip
        text = output.decode()
        assert code == 0, text
        (line,) = [one for one in text.splitlines() if one.startswith("found ")]
        assert json.loads(line.removeprefix("found ")) == {
            "connected": True,
            "rendezvous": "127.0.0.1",
            "total": [3.0],
        }
    finally:
        for container in containers:
            container.remove(force=True)
        api.networks.get("six").remove()
