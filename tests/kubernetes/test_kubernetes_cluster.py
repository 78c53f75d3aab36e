"""`mlruntime cluster … --on kubernetes`, from up to down, and what cannot be started."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from tests.kubernetes.conftest import Loaded

pytestmark = [pytest.mark.cluster, pytest.mark.kubernetes, pytest.mark.extra]

PROGRAM: Final = """
import sys
from pyspark import SparkFiles
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
rows = spark.sparkContext.parallelize(range(1000), 2)
word = rows.map(lambda n: open(SparkFiles.get("word.txt")).read()).distinct().collect()
print("sum", rows.sum(), word, sys.argv[1:])
sys.exit(3)
"""
NOTHING: Final = "statefulsets,pods,jobs,services,secrets,networkpolicies,poddisruptionbudgets"
Verb = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cluster(loaded: Loaded, namespace: str) -> Verb:
    """Return what runs a verb of ``mlruntime cluster`` in the test's namespace."""

    def run(*words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command(loaded, namespace, *words),
            env=environment(loaded, **environ), capture_output=True, text=True,
        )  # fmt: skip

    return run


def command(loaded: Loaded, namespace: str, verb: str, *words: str) -> list[str]:
    """Return a command line of the test's own namespace."""
    return [sys.executable, "-m", "mlruntime", "--root", str(loaded.root), "cluster", verb,
            "--on", "kubernetes", "--namespace", namespace, *words]  # fmt: skip


def environment(loaded: Loaded, **environ: str) -> dict[str, str]:
    """Return an environment in which ``kubectl`` is the node's."""
    path = f"{loaded.node.kubectl_path.parent}:{os.environ['PATH']}"
    return os.environ | {"PATH": path} | environ


def up(cluster: Verb, loaded: Loaded, *words: str, **environ: str) -> Any:
    """Run ``cluster up`` of the runtime."""
    return cluster("up", loaded.runtime, "--image", loaded.image, *words, **environ)


def left(loaded: Loaded, namespace: str) -> list[str]:
    """Return what is in a namespace that no namespace has by itself."""
    found = loaded.node.get(NOTHING, "--namespace", namespace)["items"]
    return [f"{item['kind']} {item['metadata']['name']}" for item in found]


def test_a_cluster_from_up_to_down(
    cluster: Verb, loaded: Loaded, namespace: str, tmp_path: Path
) -> None:
    started = up(cluster, loaded, "--name", "team-a", "--memory", "3g", "--json")
    assert started.returncode == 0, started.stderr
    print(json.loads(started.stdout)["seconds"])
    again = up(cluster, loaded, "--name", "team-a", "--memory", "3g")
    assert again.returncode == 2 and "there is a cluster team-a" in again.stderr
    listed = json.loads(cluster("list", "--json").stdout)["clusters"]
    assert listed == [{"name": "team-a", "state": "running", "workers": 2}]

    program, word = tmp_path / "program.py", tmp_path / "word.txt"
    program.write_text(PROGRAM)
    word.write_text("hello")
    begun = time.monotonic()
    done = cluster("submit", "--file", str(word), "team-a", str(program), "a $(POD_IP)", "--b")
    print(f"a job took {time.monotonic() - begun:.1f} s")
    assert done.returncode == 3, done.stderr
    assert "sum 499500 ['hello'] ['a $(POD_IP)', '--b']" in done.stdout.splitlines()

    job = cluster("submit", "--file", str(word), "--detach", "team-a", str(program)).stdout.strip()
    followed = cluster("logs", "--follow", "team-a", job)
    assert "sum 499500" in followed.stdout
    status = json.loads(cluster("status", "team-a", "--json").stdout)
    states = {node["name"]: node["state"] for node in status["nodes"]}
    assert list(states) == ["master-0", "worker-0", "worker-1", job]
    assert states["worker-1"] == "is running"
    assert status["master"]["alive_workers"] == 2

    assert cluster("down", "team-a").stdout == "removed cluster team-a\n"
    assert not left(loaded, namespace)
    gone = cluster("status", "team-a")
    assert gone.returncode == 2 and "there is no cluster 'team-a'" in gone.stderr


def test_a_lost_worker_and_a_killed_master_come_back(
    cluster: Verb, loaded: Loaded, namespace: str
) -> None:
    started = up(cluster, loaded, "--name", "team-a", "--workers", "1", "--memory", "2g")
    assert started.returncode == 0, started.stderr
    kubectl = partial(loaded.node.kubectl, "--namespace", namespace)
    before = loaded.node.get("pod/team-a-worker-0", "--namespace", namespace)["metadata"]["uid"]
    kubectl("delete", "pod/team-a-worker-0", "--grace-period=0", "--force")
    kubectl("exec", "team-a-master-0", "--container=master", "--", "pkill", "-9", "java")

    def whole() -> bool:
        status = json.loads(cluster("status", "team-a", "--json").stdout)
        states = {node["name"]: (node["state"], node["restarts"]) for node in status["nodes"]}
        return (
            states == {"master-0": ("is running", 1), "worker-0": ("is running", 0)}
            and (status["master"] or {}).get("alive_workers") == 1
        )

    deadline = time.monotonic() + 120
    while not whole():
        assert time.monotonic() < deadline, cluster("status", "team-a").stdout
        time.sleep(1)
    after = loaded.node.get("pod/team-a-worker-0", "--namespace", namespace)["metadata"]["uid"]
    assert after != before


def test_workers_come_and_go_and_doctor_asks_them(
    cluster: Verb, loaded: Loaded, namespace: str
) -> None:
    started = up(cluster, loaded, "--name", "team-a", "--workers", "1", "--memory", "2g")
    assert started.returncode == 0, started.stderr

    def scaled(workers: int) -> list[str]:
        done = cluster("scale", "team-a", str(workers), "--json")
        assert done.returncode == 0, done.stderr
        status = json.loads(cluster("status", "team-a", "--json").stdout)
        assert status["master"]["alive_workers"] == workers
        (listed,) = json.loads(cluster("list", "--json").stdout)["clusters"]
        assert listed == {"name": "team-a", "state": "running", "workers": workers}
        found: list[str] = json.loads(done.stdout)["workers"]
        return found

    assert scaled(2) == ["worker-0", "worker-1"]
    agreed = cluster("doctor", "team-a")
    assert (agreed.returncode, agreed.stdout) == (0, "cluster team-a: its 3 nodes agree\n"), agreed
    assert scaled(1) == ["worker-0"]

    quota = ("create", "quota", "small", "--hard=pods=2", "--namespace", namespace)
    loaded.node.kubectl(*quota)
    refused = cluster("scale", "team-a", "3")
    assert refused.returncode == 6 and "quota small" in refused.stderr, refused.stderr
    (listed,) = json.loads(cluster("list", "--json").stdout)["clusters"]
    assert listed["workers"] == 1
    loaded.node.kubectl("delete", "quota", "small", "--namespace", namespace)
    # The events of the attempt before are still there.
    assert scaled(2) == ["worker-0", "worker-1"]


def test_a_shell_is_on_this_terminal_and_leaves_nothing(
    cluster: Verb, loaded: Loaded, namespace: str
) -> None:
    started = up(cluster, loaded, "--name", "team-a", "--workers", "1", "--memory", "2g")
    assert started.returncode == 0, started.stderr
    before = left(loaded, namespace)
    program = (
        "from pyspark.sql import SparkSession as S; "
        "print(input(), S.builder.getOrCreate().range(10).count()); raise SystemExit(7)"
    )
    person, terminal = pty.openpty()
    process = subprocess.Popen(
        command(loaded, namespace, "shell", "team-a", "python", "-c", program),
        env=environment(loaded), stdin=terminal, stdout=terminal, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(terminal)
    os.write(person, b"typed\n")
    drawn = b""
    with suppress(OSError):  # the terminal is shut once nobody has it open any more
        while part := os.read(person, 4096):
            drawn += part
    _, told = process.communicate(timeout=300)
    os.close(person)
    assert process.returncode == 7, told
    assert b"typed 10\r\n" in drawn
    assert left(loaded, namespace) == before
    nowhere = cluster("shell", "team-a")
    assert nowhere.returncode == 2 and "a shell needs a terminal" in nowhere.stderr


def test_an_interrupted_up_leaves_nothing(loaded: Loaded, namespace: str) -> None:
    words = command(loaded, namespace, "up", loaded.runtime, "--image", loaded.image)
    process = subprocess.Popen(words, env=environment(loaded), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "starting 3 pods" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert not left(loaded, namespace)


def test_an_interrupted_job_is_removed_alone(
    cluster: Verb, loaded: Loaded, namespace: str, tmp_path: Path
) -> None:
    started = up(cluster, loaded, "--name", "team-a", "--workers", "1", "--memory", "2g")
    assert started.returncode == 0, started.stderr
    program = tmp_path / "sleep.py"
    program.write_text("import time\nprint('asleep')\ntime.sleep(600)\n")
    process = subprocess.Popen(
        command(loaded, namespace, "submit", "team-a", str(program)),
        env=environment(loaded), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "asleep\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 130
    pods = loaded.node.get("pods,jobs", "--namespace", namespace)["items"]
    assert sorted(p["metadata"]["name"] for p in pods) == ["team-a-master-0", "team-a-worker-0"]


def test_what_cannot_be_started_says_why_and_leaves_nothing(
    cluster: Verb, loaded: Loaded, namespace: str, tmp_path: Path
) -> None:
    def refused(code: int, *said: str, words: tuple[str, ...] = (), **environ: str) -> None:
        done = up(cluster, loaded, *words, **environ)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        for text in said:
            assert text in done.stderr, done.stderr
        assert not left(loaded, namespace)

    refused(2, "there is no namespace nosuch", words=("--namespace", "nosuch"))
    nowhere = tmp_path / "empty"
    nowhere.mkdir()
    refused(6, "kubectl is not installed on this host", PATH=str(nowhere))
    config = json.loads((loaded.node.state / "conf" / "admin.kubeconfig").read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    refused(6, "Kubernetes does not answer", KUBECONFIG=_written(tmp_path / "no.json", config))

    config = json.loads((loaded.node.state / "conf" / "admin.kubeconfig").read_text())
    token = loaded.node.kubectl("--namespace", namespace, "create", "token", "default").stdout
    config["users"][0]["user"] = {"token": token}
    stranger = _written(tmp_path / "stranger.json", config)
    refused(6, f"may not list statefulsets in namespace {namespace}", KUBECONFIG=stranger)
    grant = ("create", "rolebinding", "viewer", "--clusterrole=view",
             f"--serviceaccount={namespace}:default", "--namespace", namespace)  # fmt: skip
    loaded.node.kubectl(*grant)
    refused(6, "may not create", KUBECONFIG=stranger)

    other = f"registry.example.org/none@sha256:{'0' * 64}"
    refused(6, "does not start: ", "registry.example.org/none", words=("--image", other))
    taken = ("create", "secret", "generic", "default-secret", "--namespace", namespace)
    loaded.node.kubectl(*taken)
    done = up(cluster, loaded)
    assert done.returncode == 2 and "has secrets default-secret already" in done.stderr
    loaded.node.kubectl("delete", "secret", "default-secret", "--namespace", namespace)
    quota = ("create", "quota", "small", "--hard=limits.memory=5Gi", "--namespace", namespace)
    loaded.node.kubectl(*quota)
    refused(6, "quota small of the namespace is too small", "limits.memory=4Gi")


def _written(path: Path, config: object) -> str:
    path.write_text(json.dumps(config))
    return str(path)
