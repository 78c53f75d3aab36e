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
SECONDS = 180
UNIT = f"mlruntime-{NAME}-worker.service"
# As docs/clusters-elsewhere.md has it.
DRIVER = ("docker", "run", "--network", "host", "--volume",
          f"/etc/mlruntime/{NAME}/conf:/etc/spark:ro")  # fmt: skip
# An application whose page is there until it is ended.
PAGE = """
import time
from pyspark.sql import SparkSession
SparkSession.builder.config("spark.cores.max", "1").getOrCreate()
time.sleep(600)
"""


@dataclass(frozen=True)
class Three:
    """A master and two workers, and what writes the cluster's files for an image onto each.

    ``images`` are the ids of two that the hosts have.
    """

    master: Host
    workers: tuple[Host, Host]
    images: tuple[str, str]
    copy: Callable[[str], None]

    def bootstrap(self, host: Host, *words: str, check: bool = True) -> str:
        return host.run("sh", f"{THERE}/bootstrap.sh", *words, check=check)

    def join(self, host: Host, *, check: bool = True) -> str:
        return self.bootstrap(host, "worker", "--master", self.master.name, check=check)

    def alive(self) -> int:
        """Return how many workers the master sees; none, if it does not answer."""
        words = ("curl", "--silent", "http://127.0.0.1:8080/json/")
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
        words = (*DRIVER, "--rm", "--volume", "/root/train.py:/train.py:ro", self.images[0],
                 "python", "-u", "/train.py")  # fmt: skip
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
        images = _give_images(root, made)

        def copy(image: str) -> None:
            files = state / "files"
            mlruntime(root, "cluster", "render", RUNTIME, "--for", "hosts", "--name", NAME,
                      "--image", image, "--output", str(files), "--memory", "3g")  # fmt: skip
            for host in made:
                shutil.copytree(files, Path(f"{host.files}{THERE}"), dirs_exist_ok=True)

        copy(images[0])
        master, left, right = made
        yield Three(master, (left, right), images, copy)


def _give_images(root: Path, made: list[Host]) -> tuple[str, str]:
    """Load the image into one host's engine; the others get its files, which never change.

    Return its id, and that of another with one more file.
    """
    first, *others = made
    first.boot()
    engine = f"unix://{first.files}/run/docker.sock"
    built = mlruntime(root, "build", RUNTIME, "--load", DOCKER_HOST=engine)
    image = str(built["image_id"])
    first.run("docker", "create", "--name", "other", image)
    first.run("docker", "cp", "/etc/hosts", "other:/opt/other")
    other = first.run("docker", "commit", "other").strip()
    first.run("docker", "rm", "other")
    first.run("systemctl", "stop", "docker.socket", "docker.service")
    for host in others:
        for part in ("image", "overlay2"):
            places = [str(one.state / "docker" / part) for one in (first, host)]
            subprocess.run(["cp", "-al", *places], check=True)
        host.boot()
    first.run("systemctl", "start", "docker.service")
    return image, other


@pytest.fixture(scope="module")
def cluster(three: Three) -> Three:
    """Return the hosts as a cluster."""
    assert "this host can run" in three.bootstrap(three.master, "check")
    three.bootstrap(three.master, "master")
    for host in three.workers:
        three.join(host)
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


def _code(host: Host, url: str) -> str:
    """Return the code that a page answers with; ``000``, curl's own, if nothing answers."""
    words = ("curl", "--silent", "--max-time", "20", "--output", "/dev/null", "--write-out")
    return host.run(*words, "%{http_code}", url, check=False).strip()


def test_nobody_on_the_network_reads_a_page(cluster: Three) -> None:
    """Neither the master's and a worker's, nor the environment page of an application."""
    master, (left, right) = cluster.master, cluster.workers
    (master.files / "root" / "page.py").write_text(PAGE)
    master.run(*DRIVER, "--detach", "--name", "page", "--volume", "/root/page.py:/page.py:ro",
               cluster.images[0], "python", "/page.py")  # fmt: skip
    try:
        deadline = time.monotonic() + SECONDS
        while _code(master, "http://127.0.0.1:4040/environment/") != "200":
            assert time.monotonic() < deadline, master.run("docker", "logs", "page")
            time.sleep(1)
        assert _code(master, "http://127.0.0.1:8080/") == "200"
        assert _code(right, "http://127.0.0.1:8081/") == "200"
        for url in (f"{master.name}:4040/environment/", f"{master.name}:8080/",
                    f"{right.name}:8081/"):  # fmt: skip
            assert _code(left, f"http://{url}") == "000", url
    finally:
        master.run("docker", "rm", "--force", "page")


def test_bootstrapping_again_changes_nothing(cluster: Three) -> None:
    left, _ = cluster.workers
    before = runs(left)
    cluster.join(left)
    assert runs(left) == before


def test_a_worker_of_another_image_is_refused(cluster: Three) -> None:
    """Until its master has that image, too: an upgrade begins there, and so does the way back."""
    left, right = cluster.workers
    cluster.copy(cluster.images[1])
    told = cluster.join(left, check=False)
    assert f"the master of cluster {NAME} refuses this worker" in told
    assert left.run("systemctl", "is-enabled", UNIT, check=False).strip() == "disabled"
    cluster.await_alive(1)

    cluster.bootstrap(cluster.master, "master")
    for host in (left, right):
        cluster.join(host)
        assert runs(host).split()[0] == cluster.images[1]
    cluster.await_alive(2)
    for host in (cluster.master, left, right):
        cluster.bootstrap(host, "rollback")
    assert runs(left).split()[0] == cluster.images[0]
    cluster.await_alive(2)
    cluster.copy(cluster.images[0])


def test_a_drained_worker_leaves_and_comes_back(cluster: Three) -> None:
    _, right = cluster.workers
    # It has to be the signal's handler that answers: else the JVM ends, and is started again.
    begun = runs(right)
    right.run("docker", "kill", "--signal", "PWR", f"mlruntime-{NAME}-worker")
    cluster.await_alive(1)
    assert runs(right) == begun
    assert "the worker has stopped" in cluster.bootstrap(right, "drain")
    assert right.run("systemctl", "is-enabled", UNIT, check=False).strip() == "disabled"
    assert right.run("docker", "ps", "--quiet") == ""
    cluster.join(right)
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
