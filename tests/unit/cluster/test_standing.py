"""Clusters that stay, and jobs on them, against an engine that only remembers."""

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.gpus import Gpus
from mlruntime.cluster.jobs import Job, detach, submit
from mlruntime.cluster.running import ClusterFailed
from mlruntime.cluster.standing import SPEC as SPEC_LABEL
from mlruntime.cluster.standing import find, standing
from mlruntime.cluster.starting import down, scale, up
from mlruntime.cluster.status import status_of
from mlruntime.engine import Owned, State, owner
from mlruntime.engine.archives import packed
from mlruntime.errors import CommandFailed, UsageError

RUNNING = State(running=True, exit_code=0, oom_killed=False, error="")
DEFAULTS = b"spark.barrier.sync.timeout 600\n"


class FakeExec:
    """Ends by itself after its lines, unless they end with ``None``: then once it is killed."""

    def __init__(self, lines: Sequence[str | None]) -> None:
        self.lines, self.killed = [line for line in lines if line is not None], Event()
        if None not in lines:
            self.killed.set()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        yield from (("stdout", line) for line in self.lines)
        assert self.killed.wait(20)

    def kill(self) -> None:
        self.killed.set()

    def exit_code(self) -> int:
        return 0


class FakeContainer:
    def __init__(self, engine: "FakeEngine", name: str) -> None:
        self.engine, self.name = engine, name

    def exec(self, argv: Sequence[str]) -> FakeExec:
        process = FakeExec(self.engine.answers)
        self.engine.processes.append(process)
        return process

    def state(self) -> State:
        return self.engine.states.get(self.name, RUNNING)

    def logs(self, tail: int = 40) -> tuple[str, ...]:
        return ("its last words",)

    def get(self, path: str) -> Iterator[bytes]:
        return packed({"spark-defaults.conf": DEFAULTS})

    def address(self, port: int) -> str:
        return f"127.0.0.1:4{port}"

    def follow(self, stream: str) -> Iterator[str]:
        yield f"a line on {stream}"

    def wait(self) -> int:
        return 7

    def remove(self) -> None:
        self.engine.things = [t for t in self.engine.things if t.name != self.name]


class FakeEngine:
    def __init__(self) -> None:
        self.things: list[Owned] = []
        self.options: dict[str, dict[str, Any]] = {}
        self.archives: dict[str, dict[str, bytes]] = {}
        self.states: dict[str, State] = {}
        self.answers: list[str | None] = ["0", "2"]
        self.processes: list[FakeExec] = []
        self.refuse: dict[str, Exception] = {}

    def sweep(self) -> tuple[Owned, ...]:
        return ()

    def _add(self, kind: Any, name: str, run: str, labels: Mapping[str, str] | None) -> None:
        known = {**(labels or {}), owner.RUN: run}
        self.things.append(Owned(kind=kind, id=name, name=name, labels=known, running=True))

    def create_network(self, name: str, *, run: str, labels: Any, **options: Any) -> None:
        assert options == {"internal": False, "stays": True}
        self._add("network", name, run, labels)

    def create_volume(self, name: str, *, run: str, labels: Any, stays: bool) -> None:
        assert stays
        self._add("volume", name, run, labels)

    def start(self, image: str, command: Sequence[str], **options: Any) -> FakeContainer:
        if error := self.refuse.get(options["role"]):
            raise error
        name, labels = options["name"], {**options["labels"], owner.ROLE: options["role"]}
        self._add("container", name, options["run"], labels)
        self.options[options["role"]] = {"image": image, "command": list(command), **options}
        for directory, archive in (options.get("files") or {}).items():
            self.archives[f"{options['role']}:{directory}"] = _unpacked(archive())
        return FakeContainer(self, name)

    def container(self, name: str) -> FakeContainer:
        return FakeContainer(self, name)

    def image_config(self, reference: str) -> Any:
        return SimpleNamespace(user="1000:1000")

    def owned(self, labels: Mapping[str, str] | None = None) -> tuple[Owned, ...]:
        wanted = (labels or {}).items()
        return tuple(t for t in self.things if wanted <= t.labels.items())

    def remove(self, things: Any) -> None:
        gone = {thing.name for thing in things}
        self.things = [t for t in self.things if t.name not in gone]


def _unpacked(archive: Iterator[bytes]) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(archive))) as tar:
        members = {m.name: (m, tar.extractfile(m)) for m in tar}
        assert all(m.uid == 1000 for m, _ in members.values())
        return {name: file.read() if file else b"" for name, (_, file) in members.items()}


SPEC = ClusterSpec(
    image="i", driver=False, limit=7, settings={"spark.hadoop.fs.s3a.secret.key": "hush"},
    ports={"ui": 0},
)  # fmt: skip


def test_a_secret_is_in_the_file_only() -> None:
    engine: Any = FakeEngine()
    started = up(engine, SPEC, "a")
    assert started.addresses == {"ui": "127.0.0.1:48080"}
    assert list(engine.options) == ["master", "worker-1", "worker-2"]
    text = engine.archives["master:/etc/spark"]["spark-defaults.conf"].decode()
    assert text.startswith(DEFAULTS.decode())
    secret = text.partition("spark.authenticate.secret ")[2].split()[0]
    assert len(secret) == 64
    assert "spark.hadoop.fs.s3a.secret.key hush" in text
    told = repr([engine.things, *(_without_files(o) for o in engine.options.values())])
    assert secret not in told and "hush" not in told
    assert {"events", "recovery", "work"} == set(engine.archives["master:/shared"])
    up(engine, SPEC, "b")
    other = engine.archives["master:/etc/spark"]["spark-defaults.conf"].decode()
    assert secret not in other


def _without_files(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "files"}


def test_nodes_are_confined_restarted_and_limited() -> None:
    engine: Any = FakeEngine()
    up(engine, SPEC, "a")
    worker = engine.options["worker-1"]
    assert worker["service"].restart
    assert (worker["service"].cpus, worker["memory"]) == (1, 7)
    conf = {m.target: m.read_only for m in worker["mounts"]}
    assert conf == {"/etc/spark": True, "/shared": False, "/tmp": False, "/home/ml": False}
    assert engine.options["master"]["service"].ports == {8080: 0}


def test_several_clusters_are_told_apart_and_removed_one_by_one() -> None:
    engine: Any = FakeEngine()
    up(engine, SPEC, "a")
    up(engine, SPEC, "b")
    with pytest.raises(UsageError, match="there is a cluster a already"):
        up(engine, SPEC, "a")
    assert list(standing(engine)) == ["a", "b"]
    assert list(find(engine, "a").nodes) == ["master", "worker-1", "worker-2"]
    assert find(engine, "a").spec.limit == 7
    assert not find(engine, "a").spec.settings
    down(engine, "a")
    assert list(standing(engine)) == ["b"]
    with pytest.raises(UsageError, match="there is no cluster 'a'") as caught:
        find(engine, "a")
    assert caught.value.hint == "known: b"
    down(engine, "b")
    assert not engine.things


@pytest.mark.parametrize("role", ["master", "worker-2"])
def test_what_cannot_be_started_leaves_nothing(role: str) -> None:
    engine: Any = FakeEngine()
    engine.refuse[role] = CommandFailed("no", why="Bind failed: port is already allocated")
    with pytest.raises(ClusterFailed) as caught:
        up(engine, SPEC, "a")
    assert "choose another port" in str(caught.value.hint)
    assert not engine.things


@pytest.mark.parametrize("restarts", [0, 3])
def test_a_node_that_ends_while_the_cluster_starts(restarts: int) -> None:
    """Also when the engine has started it again since."""
    engine: Any = FakeEngine()
    engine.states["mlr-a-worker-1"] = State(
        running=restarts > 0, exit_code=1, oom_killed=False, error="", restarts=restarts
    )
    with pytest.raises(ClusterFailed, match=r"worker-1 .* before the cluster was ready"):
        up(engine, SPEC, "a")
    assert not engine.things


def test_a_cluster_that_was_broken_off_can_be_seen_and_removed() -> None:
    engine: Any = FakeEngine()
    up(engine, SPEC, "a")
    engine.things = [t for t in engine.things if owner.KEPT not in t.labels]
    with pytest.raises(UsageError, match="cluster a is not ready"):
        submit(engine, find(engine, "a"), Job(program=__file__), lambda *_: None)
    down(engine, "a")
    assert not engine.things


@pytest.mark.parametrize("label", ["", "{", '{"image": 1}'])
def test_a_description_that_is_another_versions_can_be_removed(label: str) -> None:
    engine: Any = FakeEngine()
    up(engine, SPEC, "a")
    for thing in engine.things:
        if SPEC_LABEL in thing.labels:
            thing.labels[SPEC_LABEL] = label
    with pytest.raises(UsageError, match="the description of cluster a cannot be read"):
        status_of(engine, find(engine, "a"))
    down(engine, "a")
    assert not engine.things


def test_scaling_adds_free_numbers_and_takes_the_highest() -> None:
    engine: Any = FakeEngine()
    up(engine, SPEC, "a")
    engine.remove([find(engine, "a").nodes["worker-1"]])
    engine.answers = ["3"]
    assert scale(engine, find(engine, "a"), 3) == (1, 2, 3)
    assert scale(engine, find(engine, "a"), 1) == (1,)
    assert list(find(engine, "a").nodes) == ["master", "worker-1"]
    engine.refuse["worker-3"] = CommandFailed("full")
    with pytest.raises(CommandFailed):
        scale(engine, find(engine, "a"), 4)
    assert find(engine, "a").workers == (1,)


def test_who_waits_in_vain_leaves_no_process_that_asks_the_master() -> None:
    engine: Any = FakeEngine()
    up(engine, SPEC, "a")
    engine.answers = ["2", None]
    times = iter([0.0, 5.0])
    with pytest.raises(ClusterFailed, match="the workers did not register within 3 s"):
        scale(engine, find(engine, "a"), 3, ready=3, clock=lambda: next(times))
    assert engine.processes[-1].killed.is_set()
    assert find(engine, "a").workers == (1, 2)


def test_workers_with_gpus_cannot_be_added() -> None:
    engine: Any = FakeEngine()
    gpus = Gpus(each=1, devices={"worker-1": ("G",), "worker-2": ("H",)})
    up(engine, ClusterSpec(image="i", driver=False, gpus=gpus), "a")
    with pytest.raises(UsageError, match="cannot have more workers"):
        scale(engine, find(engine, "a"), 3)


def test_a_job_has_its_files_and_ends_with_its_code(tmp_path: Path) -> None:
    engine: Any = FakeEngine()
    up(engine, SPEC, "a")
    program, module = tmp_path / "train.py", tmp_path / "lib.zip"
    program.write_text("1")
    module.write_text("2")
    job = Job(program=str(program), arguments=("x", "--y"), py_files=(module,),
              settings={"spark.a": "b c"})  # fmt: skip
    lines: list[tuple[str, str]] = []
    ended = submit(engine, find(engine, "a"), job, lambda *line: lines.append(line))
    assert ended.exit_code == 7
    assert sorted(lines) == [("stderr", "a line on stderr"), ("stdout", "a line on stdout")]
    assert engine.archives[f"{ended.job}:/home/ml"].keys() >= {"train.py", "lib.zip"}
    assert engine.options[ended.job]["command"] == [
        "python", "-u", "/home/ml/train.py", "x", "--y",
    ]  # fmt: skip
    assert engine.options[ended.job]["environment"]["PYSPARK_SUBMIT_ARGS"] == (
        "--properties-file /tmp/submit.conf --py-files /home/ml/lib.zip pyspark-shell"
    )
    # Its settings may be secret: they are in a file, with those of the cluster.
    options = engine.options[ended.job]
    assert "b c" not in repr((options["command"], options["environment"], options["labels"]))
    assert engine.archives[f"{ended.job}:/tmp"] == {"submit.conf": DEFAULTS + b"\nspark.a b c\n"}
    assert not find(engine, "a").jobs
    ident = detach(engine, find(engine, "a"), job)
    assert list(find(engine, "a").jobs) == [ident]
    assert owner.KEPT in find(engine, "a").jobs[ident].labels
    down(engine, "a")
    assert not engine.things


def test_a_job_whose_files_are_not_there_or_have_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    with pytest.raises(UsageError, match="there is no file"):
        Job(program=str(tmp_path / "none.py")).sent()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a.py").write_text("2")
    twice = Job(program=str(tmp_path / "a.py"), files=(tmp_path / "b" / "a.py",))
    with pytest.raises(UsageError, match="have the same name"):
        twice.sent()
    assert Job(program="local:///opt/x.py").sent() == {}
    assert Job(program="local:///opt/x.py").command() == ("python", "-u", "/opt/x.py")
    assert Job(program="local:///x.jar", settings={"spark.a": "b"}).command("/f") == (
        "spark-submit", "--properties-file", "/f", "local:///x.jar",
    )  # fmt: skip
    assert Job(program="local:///x.jar", main_class="M").command() == (
        "spark-submit", "--class", "M", "local:///x.jar",
    )  # fmt: skip


def test_status_asks_the_master() -> None:
    engine: Any = FakeEngine()
    up(engine, SPEC, "a")
    engine.answers = ['{"aliveworkers": 2, "cores": 2, "coresused": 1, "activeapps": [{}]}']
    found = status_of(engine, find(engine, "a"))
    assert found.master == {"alive_workers": 2, "cores": 2, "cores_used": 1, "applications": 1}
    assert [node.name for node in found.nodes] == ["master", "worker-1", "worker-2"]
    engine.answers = ["not JSON"]
    assert status_of(engine, find(engine, "a")).master is None


def test_what_stays_is_never_taken_for_left_over(tmp_path: Path) -> None:
    labels = owner.current().starter("run")
    assert not owner.abandoned(labels)
    gone = labels | {owner.STARTER: labels[owner.STARTER].replace(" ", "9 ", 1)}
    assert owner.abandoned(gone)
    assert owner.kept_runs([gone, {owner.KEPT: "1", owner.RUN: "run"}]) == {"run"}
    assert not owner.abandoned(labels | {owner.STARTER: "nonsense"})
