"""JupyterLab on a standing cluster, against an engine that only remembers."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from mlruntime.cluster.description import ClusterSpec, describe
from mlruntime.cluster.form import with_flags
from mlruntime.cluster.notebook import (
    ADDRESS,
    HAS_JUPYTER,
    NotebookOptions,
    OpenNotebook,
    open_notebook,
    stop_notebook,
)
from mlruntime.cluster.running import ClusterFailed
from mlruntime.cluster.standing import Standing, addresses, find
from mlruntime.cluster.starting import down, up
from mlruntime.cluster.status import status_of
from mlruntime.definitions.files import Definitions
from mlruntime.engine import Mount, State
from mlruntime.errors import CommandFailed, UsageError
from mlruntime.workflows.cluster import describing, fitting

from tests.rendered import CHECKOUT, files
from tests.unit.cluster.test_standing import DEFAULTS, FakeContainer, FakeEngine, FakeExec

TOKEN = "0123456789abcdef" * 3
DATA = Mount(source="datasets", target="/data", kind="volume")
READ_ONLY = Mount(source="models", target="/models", kind="volume", read_only=True)
SPEC = ClusterSpec(image="i", driver=False, limit=7, ports={"ui": 0}, mounts=(DATA, READ_ONLY))


class Answers(FakeExec):
    """A process that has written its lines, and then ends when it should."""

    def __init__(self, lines: Sequence[tuple[str, str]], end: threading.Event) -> None:
        self.said, self.end = lines, end

    def __iter__(self) -> Iterator[tuple[str, str]]:
        yield from self.said
        self.end.wait()

    def kill(self) -> None:
        self.end.set()


class LabContainer(FakeContainer):
    """A node; in that of the notebook server, JupyterLab answers once it is ``healthy``."""

    engine: "LabEngine"

    def exec(self, argv: Sequence[str]) -> FakeExec:
        if argv == HAS_JUPYTER:
            return FakeExec(self.engine.jupyter)
        if argv == ADDRESS:
            said = ("stdout", f"http://localhost:8888/lab?token={TOKEN}")
            return Answers([("stderr", "mlruntime: about /dev/shm"), said], self.engine.healthy)
        if argv[0] != "sh":
            return super().exec(argv)
        self.engine.waiting = Answers([], self.engine.healthy)
        return self.engine.waiting

    def start_again(self) -> None:
        self.engine.states.clear()
        self.engine.begun.append(self.name)


class LabEngine(FakeEngine):
    """An engine with a cluster ``a``, whose image has JupyterLab."""

    def __init__(self, spec: ClusterSpec = SPEC) -> None:
        super().__init__()
        self.jupyter = ["/opt/ml/bin/jupyter-lab"]
        self.healthy = threading.Event()
        self.healthy.set()
        self.waiting: Answers | None = None
        self.begun: list[str] = []
        up(self, spec, "a")  # type: ignore[arg-type]

    def start(self, image: str, command: Sequence[str], **options: Any) -> LabContainer:
        self.begun.append(options["name"])
        return LabContainer(self, super().start(image, command, **options).name)

    def container(self, name: str) -> LabContainer:
        return LabContainer(self, name)


def cluster(engine: Any) -> Standing:
    return find(engine, "a")


def opened(engine: Any, **options: Any) -> OpenNotebook:
    return open_notebook(engine, cluster(engine), NotebookOptions(**options))


def test_the_token_is_in_the_address_only() -> None:
    engine: Any = LabEngine()
    found = opened(engine)
    assert found == OpenNotebook(
        address=f"http://127.0.0.1:48888/lab?token={TOKEN}", started=True, forward=None
    )
    told = repr([engine.things, {k: v for k, v in engine.options.items() if k != "master"}])
    told += repr([addresses(engine, cluster(engine)), status_of(engine, cluster(engine))])
    assert TOKEN not in told and "token" not in told.lower()
    assert addresses(engine, cluster(engine)) == {
        "ui": "127.0.0.1:48080", "notebook": "127.0.0.1:48888",
    }  # fmt: skip


def test_it_is_a_node_like_others() -> None:
    engine: Any = LabEngine()
    opened(engine, port=8889, directory="/data/me", settings={"spark.cores.max": "1"})
    node = engine.options["notebook"]
    assert node["command"] == ["notebook", "--ServerApp.root_dir=/data/me"]
    told = "--properties-file /tmp/submit.conf pyspark-shell"
    assert node["environment"]["PYSPARK_SUBMIT_ARGS"] == told
    # They may be secret, and whoever may ask the engine sees an environment.
    settings = engine.archives["notebook:/tmp"]["submit.conf"]
    assert settings == DEFAULTS + b"\nspark.cores.max 1\n"
    assert node["environment"]["SPARK_LOCAL_HOSTNAME"] == "mlr-a-notebook"
    assert (node["service"].restart, node["service"].ports) == (True, {8888: 8889})
    assert node["memory"] == 7
    kept = {m.target: m.read_only for m in node["mounts"]}
    assert kept == {"/etc/spark": True, "/shared": False, "/tmp": False, "/home/ml": False,
                    "/data": False, "/models": True}  # fmt: skip
    assert list(cluster(engine).nodes) == ["master", "worker-1", "worker-2", "notebook"]
    down(engine, "a")
    assert not engine.things


def test_the_second_call_starts_nothing() -> None:
    engine: Any = LabEngine()
    first = opened(engine)
    begun = list(engine.begun)
    assert opened(engine) == replace(first, started=False)
    assert engine.begun == begun
    with pytest.raises(UsageError, match="has a notebook server already"):
        opened(engine, port=8889)
    assert engine.begun == begun


def test_one_that_has_ended_is_started_with_its_files() -> None:
    engine: Any = LabEngine()
    opened(engine)
    engine.states["mlr-a-notebook"] = State(
        running=False, exit_code=137, oom_killed=False, error="", restarts=4
    )
    assert not opened(engine).started
    assert engine.begun[-2:] == ["mlr-a-notebook", "mlr-a-notebook"]


def test_earlier_restarts_are_no_failure() -> None:
    engine: Any = LabEngine()
    opened(engine)
    engine.states["mlr-a-notebook"] = State(
        running=True, exit_code=0, oom_killed=False, error="", restarts=4
    )
    assert not opened(engine).started


def _dead(engine: Any) -> None:
    engine.states["mlr-a-notebook"] = State(running=False, exit_code=2, oom_killed=False, error="")


def _silent(engine: Any) -> None:
    engine.healthy.clear()


@pytest.mark.parametrize(
    ("fault", "what"),
    [(_dead, "notebook exited with 2 before JupyterLab answered"), (_silent, "did not answer")],
)
def test_one_that_fails_goes_and_the_cluster_stays(fault: Any, what: str) -> None:
    engine: Any = LabEngine()
    before = list(engine.things)
    fault(engine)
    times = iter([0.0, *[10.0] * 9])
    with pytest.raises(ClusterFailed, match=what) as caught:
        open_notebook(
            engine, cluster(engine), NotebookOptions(), ready=5, clock=lambda: next(times)
        )
    assert "its last words" in str(caught.value.why)
    assert engine.things == before
    assert engine.healthy.is_set()  # the process that waits was killed, too


def test_one_that_is_interrupted_goes() -> None:
    engine: Any = LabEngine()
    before = list(engine.things)
    _silent(engine)

    def interrupted() -> float:
        if engine.waiting is None:
            return 0.0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_notebook(engine, cluster(engine), NotebookOptions(), clock=interrupted)
    assert engine.things == before
    assert engine.healthy.is_set()


def test_a_port_that_is_taken() -> None:
    engine: Any = LabEngine()
    before = list(engine.things)
    engine.refuse["notebook"] = CommandFailed("no", why="Bind failed: port is already allocated")
    with pytest.raises(CommandFailed) as caught:
        opened(engine, port=8889)
    assert "another --port" in str(caught.value.hint)
    assert engine.things == before


def test_an_image_without_jupyter() -> None:
    engine: Any = LabEngine()
    engine.jupyter = []
    with pytest.raises(UsageError, match="JupyterLab is not in the image") as caught:
        opened(engine)
    assert "--flavour notebook" in str(caught.value.hint)
    assert "mlr-a-notebook" not in engine.begun


@pytest.mark.parametrize("directory", ["/home/ml/work", "/models/x", "/database"])
def test_files_are_kept_in_a_volume_only(directory: str) -> None:
    engine: Any = LabEngine()
    with pytest.raises(UsageError, match=f"{directory} is in no volume") as caught:
        opened(engine, directory=directory)
    assert caught.value.hint == "volumes: /data"
    assert opened(engine, directory="/data").started


def test_it_is_stopped() -> None:
    engine: Any = LabEngine()
    before = list(engine.things)
    opened(engine)
    stop_notebook(engine, cluster(engine))
    assert engine.things == before
    with pytest.raises(UsageError, match="cluster a has no notebook server"):
        stop_notebook(engine, cluster(engine))


def test_a_cluster_can_start_with_one_and_lose_it() -> None:
    engine: Any = LabEngine(replace(SPEC, notebook=True, ports={"notebook": 8890}))
    assert engine.options["notebook"]["service"].ports == {8888: 8890}
    assert not opened(engine).started
    stop_notebook(engine, cluster(engine))
    assert addresses(engine, cluster(engine)) == {}
    assert opened(engine).started
    assert engine.options["notebook"]["service"].ports == {8888: 8890}


def test_the_description_asks_for_one() -> None:
    form = with_flags(
        "{runtime: 6.0-ml, notebook: true, ports: {notebook: 8888}}", "cluster.yaml", {}
    )
    described = describe(describing.spec_of(form, "i"), "a")
    (node,) = described.of_role("notebook")
    assert [(p.number, p.host) for p in node.ports] == [(8888, 8888)]
    with pytest.raises(UsageError, match="flavour core has no JupyterLab"):
        fitting.must_have_jupyter(form, "core")
    fitting.must_have_jupyter(form, "notebook")
    engine: Any = None  # which is not asked
    with pytest.raises(UsageError, match="flavour core has no JupyterLab"):
        describing.choose(engine, Definitions(CHECKOUT), form)


def test_compose_has_it_with_its_health() -> None:
    text = files("compose", notebook=True)["compose.yaml"].text
    (service,) = (part for part in text.split("\n\n") if part.startswith("  notebook:"))
    assert 'command: ["notebook"]' in service
    assert "test: [CMD, /opt/entrypoint.sh, health, notebook]" in service
    assert 'ports: ["127.0.0.1::8888"]' in service
