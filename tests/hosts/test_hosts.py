"""`mlruntime cluster render --for hosts` on three hosts with systemd: from bootstrap to reboot."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RUNTIME, mlruntime
from tests.hosts.machines import CannotRunError, Host, hosts, must_be_able
from tests.training_program import PROGRAM, computed, told

pytestmark = [pytest.mark.cluster, pytest.mark.extra]
NAME = "team-a"
THERE = f"/root/{NAME}"
# Two names of one image: what an upgrade changes is which name a host runs.
IMAGES = tuple(f"registry.example.org/ml/{RUNTIME}:{number}" for number in (1, 2))
SECONDS = 180


@dataclass(frozen=True)
class Three:
    """A master and two workers, and what writes the cluster's files for an image onto each."""

    master: Host
    workers: tuple[Host, Host]
    copy: Callable[[str], None]

    def bootstrap(self, host: Host, *words: str) -> str:
        return host.run("sh", f"{THERE}/bootstrap.sh", *words)

    def alive(self) -> int:
        """Return how many workers the master sees; none, if it does not answer."""
        words = ("curl", "--silent", f"http://{self.master.name}:8080/json/")
        try:
            return int(json.loads(self.master.run(*words, check=False))["aliveworkers"])
        except ValueError:
            return -1

    def await_alive(self, workers: int) -> None:
        deadline = time.monotonic() + SECONDS
        while (found := self.alive()) != workers:
            assert time.monotonic() < deadline, found
            time.sleep(0.5)

    def trained(self) -> Any:
        """Run the training on the master's host."""
        shutil.copy(PROGRAM, self.master.files / "root" / "train.py")
        words = ("docker", "run", "--rm", "--network", "host", "--env",
                 f"SPARK_LOCAL_HOSTNAME={self.master.name}", "--volume",
                 f"/etc/mlruntime/{NAME}/conf:/etc/spark:ro", "--volume",
                 "/root/train.py:/train.py:ro", IMAGES[0], "python", "-u", "/train.py")  # fmt: skip
        return told(self.master.run(*words))


@pytest.fixture(scope="module")
def three(
    definitions: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Three]:
    try:
        must_be_able()
    except CannotRunError as error:
        pytest.skip(str(error))
    root, state = definitions(RUNTIME), tmp_path_factory.mktemp("hosts")
    with hosts(state, ["boss", "left", "right"]) as made:
        _give_image(root, made)

        def copy(image: str) -> None:
            files = state / "files"
            mlruntime(root, "cluster", "render", RUNTIME, "--for", "hosts", "--name", NAME,
                      "--image", image, "--output", str(files), "--memory", "3g")  # fmt: skip
            for host in made:
                shutil.copytree(files, Path(f"{host.files}{THERE}"), dirs_exist_ok=True)

        copy(IMAGES[0])
        master, left, right = made
        yield Three(master, (left, right), copy)


def _give_image(root: Path, made: list[Host]) -> None:
    """Load the image into one host's engine; the others get its files, which never change."""
    first, *others = made
    first.boot()
    engine = f"unix://{first.files}/run/docker.sock"
    built = mlruntime(root, "build", RUNTIME, "--load", DOCKER_HOST=engine)
    for image in IMAGES:
        first.run("docker", "tag", built["image_id"], image)
    first.run("systemctl", "stop", "docker.socket", "docker.service")
    for host in others:
        for part in ("image", "overlay2"):
            places = [str(one.state / "docker" / part) for one in (first, host)]
            subprocess.run(["cp", "-al", *places], check=True)
        host.boot()
    first.run("systemctl", "start", "docker.service")


@pytest.fixture(scope="module")
def cluster(three: Three) -> Three:
    """Return the hosts as a cluster."""
    assert "this host can run" in three.bootstrap(three.master, "check")
    three.bootstrap(three.master, "master")
    for host in three.workers:
        three.bootstrap(host, "worker", "--master", three.master.name)
    three.await_alive(2)
    return three


def test_three_hosts_train(cluster: Three) -> None:
    found = cluster.trained()
    assert {rank["host"] for rank in found["ranks"]} == {host.name for host in cluster.workers}
    assert found["authenticated"] == "true"
    numbers = computed(found)
    assert numbers["count"] == 4950 and numbers["arrow"] == "true"
    assert numbers["weights"] == pytest.approx({"0": found["expected"], "1": found["expected"]})


def runs(host: Host) -> str:
    """Return the image that a host's worker runs."""
    words = ("docker", "inspect", "--format", "{{.Config.Image}} {{.State.StartedAt}}")
    return host.run(*words, f"mlruntime-{NAME}-worker").strip()


def test_bootstrapping_again_changes_nothing_and_another_image_is_an_upgrade(
    cluster: Three,
) -> None:
    left, _ = cluster.workers
    before = runs(left)
    cluster.bootstrap(left, "worker", "--master", cluster.master.name)
    assert runs(left) == before
    cluster.copy(IMAGES[1])
    cluster.bootstrap(left, "worker", "--master", cluster.master.name)
    assert runs(left).split()[0] == IMAGES[1]
    cluster.await_alive(2)
    cluster.bootstrap(left, "rollback")
    assert runs(left).split()[0] == IMAGES[0]
    cluster.await_alive(2)
    cluster.copy(IMAGES[0])


def test_a_drained_worker_leaves_and_comes_back(cluster: Three) -> None:
    _, right = cluster.workers
    unit = f"mlruntime-{NAME}-worker.service"
    # It has to be the signal's handler that answers: else the JVM ends, and is started again.
    begun = runs(right)
    right.run("docker", "kill", "--signal", "PWR", f"mlruntime-{NAME}-worker")
    cluster.await_alive(1)
    assert runs(right) == begun
    assert "the worker has stopped" in cluster.bootstrap(right, "drain")
    assert right.run("systemctl", "is-enabled", unit, check=False).strip() == "disabled"
    assert right.run("docker", "ps", "--quiet") == ""
    cluster.bootstrap(right, "worker", "--master", cluster.master.name)
    cluster.await_alive(2)


def test_a_host_that_is_lost_or_boots_again_comes_back_by_itself(cluster: Three) -> None:
    left, right = cluster.workers
    left.off()
    cluster.await_alive(1)
    left.boot()
    right.reboot()
    cluster.await_alive(2)
    cluster.master.reboot()
    cluster.await_alive(2)
    assert computed(cluster.trained())["count"] == 4950


def test_removing_leaves_nothing_on_a_host(cluster: Three) -> None:
    for host in (*cluster.workers, cluster.master):
        cluster.bootstrap(host, "remove")
        assert host.run("docker", "ps", "--all", "--quiet") == ""
        left = host.run("find", "/etc", "/var/lib", "-name", "*mlruntime*", "-not", "-path",
                        "/var/lib/docker/*")  # fmt: skip
        assert left == ""
