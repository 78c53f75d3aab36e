"""Validation on clusters that are there already: what is asked of them, and what is not run."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cluster.containers import ContainerClusters
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.joining import SparkClusters, StandingClusters
from mlruntime.cluster.running import ClusterFailed
from mlruntime.cluster.standing import find
from mlruntime.cluster.starting import down, up
from mlruntime.engine import State
from mlruntime.errors import UsageError
from mlruntime.lock.model import Lock, Variant
from mlruntime.validation.catalog import CHECKS
from mlruntime.validation.resources import PROGRAMS
from mlruntime.validation.session import IMAGE_CHECK, Subject, plan_of
from mlruntime.workflows.check_places import CheckPlace, check_place, located

from tests.unit.cluster.test_standing import FakeContainer, FakeEngine

LOCK = Lock(
    runtime="6.0-ml", inputs=(), snapshot="2026-11-20T00:00:00Z", components=(), omitted=(), os=(),
    build_depends=(), python=(), jars=(), variants=(Variant(name="cpu", python=(), native=()),),
)  # fmt: skip
SUBJECT = Subject(image="i", lock=LOCK, variant="cpu")
SPEC = ClusterSpec(image="i", driver=False)


class Container(FakeContainer):
    def call(self, argv: Sequence[str]) -> Any:
        self.engine.calls.append(list(argv))  # type: ignore[attr-defined]
        return type("Result", (), {"exit_code": 0, "tail": ""})

    def exec(self, argv: Sequence[str], workdir: str | None = None) -> Any:
        return super().exec(argv)

    def image_id(self) -> str:
        return f"image of {self.name.partition('-job-')[0]}"


class Engine(FakeEngine):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[str]] = []

    def container(self, name: str) -> Container:
        return Container(self, name)

    def start(self, image: str, command: Sequence[str], **options: Any) -> Container:
        options.setdefault("labels", {})
        return Container(self, super().start(image, command, **options).name)


@pytest.mark.parametrize(
    ("on", "network", "secret", "what"),
    [
        ("spark:/host", None, None, "is not the URL of a master"),
        ("spark://host", None, None, "is not the URL of a master"),
        ("Team A", None, None, "cannot be a cluster's name"),
        ("containers", "host", None, "are for --on spark://"),
    ],
)
def test_a_place_that_is_none(on: str, network: Any, secret: Any, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        check_place(on, network, secret)


def test_places(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    assert check_place("containers", None, None) == CheckPlace()
    assert check_place("spark://h:7077", None, tmp_path / "secret") == CheckPlace(
        on="spark://h:7077", secret="hush"
    )
    engine: Any = Engine()
    clusters, subject = located(engine, CheckPlace(), SUBJECT, CHECKS)
    assert (type(clusters), subject) == (ContainerClusters, SUBJECT)


def test_what_a_stranger_s_cluster_cannot_be_asked_is_not_run_and_says_why() -> None:
    engine: Any = Engine()
    _, subject = located(engine, CheckPlace(on="spark://h:7077"), SUBJECT, CHECKS)
    plan = plan_of(subject, CHECKS, ())
    assert not plan.image
    assert "can only be asked where they are" in plan.absent[IMAGE_CHECK]
    assert "needs a directory that all nodes see" in plan.absent["spark.parquet"]
    assert "spark.join" in {check.name for check in plan.programs}
    assert "spark.parquet" not in {check.name for check in plan.programs}
    assert set(plan.absent) < set(plan.names)


def test_a_standing_cluster_is_left_as_it_was_found() -> None:
    engine: Any = Engine()
    up(engine, SPEC, "a")
    before = list(engine.things)
    clusters, subject = located(engine, CheckPlace(on="a"), SUBJECT, CHECKS)
    assert isinstance(clusters, StandingClusters)
    assert (subject.workers, subject.place) == (2, "cluster a")
    with clusters.up(SPEC, say=lambda _: None, ready=1, clock=lambda: 0.0) as joined:
        assert joined.worker_hosts == ("mlr-a-worker-1", "mlr-a-worker-2")
        assert joined.master_url == "spark://mlr-a-master:7077"
        assert set(joined.images()) == {joined.driver_host, "mlr-a-master", *joined.worker_hosts}
        assert joined.casualty() is None
        engine.states["mlr-a-worker-2"] = State(
            running=True, exit_code=0, oom_killed=False, error="", restarts=1
        )
        assert joined.casualty() is not None  # it was started again: its executors are gone
        shared = joined.shared
    assert engine.calls == [["mkdir", shared], ["rm", "-rf", shared]]
    assert engine.things == before
    with pytest.raises(UsageError, match="there is no cluster 'b'"):
        located(engine, CheckPlace(on="b"), SUBJECT, CHECKS)
    down(engine, find(engine, "a").name)


def test_a_cluster_by_its_url_is_looked_at_by_a_job() -> None:
    engine: Any = Engine()
    engine.answers = ["log", '@@{"address": "10.0.0.9", "hosts": ["w1", "w2"]}']
    clusters = SparkClusters(engine=engine, url="spark://h:7077", secret="hush")
    with clusters.up(SPEC, say=lambda _: None, ready=1, clock=lambda: 0.0) as joined:
        assert (joined.driver_host, joined.worker_hosts) == ("10.0.0.9", ("w1", "w2"))
        assert joined.images() == {}
        assert engine.options["driver"]["network"] == "host"
        text = engine.archives["driver:/etc/spark"]["spark-defaults.conf"].decode()
        assert "spark.authenticate true" in text and "spark.authenticate.secret hush" in text
        assert "hush" not in repr(
            {k: v for k, v in engine.options["driver"].items() if k != "files"}
        )
    assert not engine.things
    engine.answers = ["java.io.IOException: Failed to connect to h:7077"]
    with (
        pytest.raises(ClusterFailed, match="no job ran on") as caught,
        clusters.up(SPEC, say=lambda _: None, ready=1, clock=lambda: 0.0),
    ):
        pytest.fail("it was joined")
    assert "Failed to connect" in str(caught.value.why)
    assert not engine.things


def test_the_catalog_knows_which_checks_need_a_shared_directory() -> None:
    assert {check.name for check in CHECKS if check.shared} == {
        f"{path.stem.removeprefix('check_')}.{name}"
        for path in PROGRAMS.glob("check_*.py")
        for name in _sharing(ast.parse(path.read_text(encoding="utf-8")))
    }


def _sharing(tree: ast.Module) -> Iterator[str]:
    """Yield the checks of a module that use the shared directory, themselves or through others."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    using = {
        name for name, node in functions.items() if "cluster.expect.shared" in ast.unparse(node)
    }
    while more := {n for n, node in functions.items() if n not in using and _calls(node) & using}:
        using |= more
    for name in using:
        if [a.arg for a in functions[name].args.args] == ["cluster", "proof"]:
            yield name


def _calls(node: ast.AST) -> set[str]:
    return {
        call.func.id
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    }
