"""The validation's state machine, against scripted programs: what must fail, fails."""

import io
import json
import queue
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.engine import ImageInfo
from mlruntime.errors import CommandFailed, Unavailable, UsageError
from mlruntime.lock.model import Flavour, Lock, Variant
from mlruntime.lock.packages import Artifact, NativeWheel, Omission
from mlruntime.validation import resources
from mlruntime.validation.expectation import expectation, labels, python_packages, selected
from mlruntime.validation.report import CheckResult
from mlruntime.validation.runner import Runner
from mlruntime.validation.session import IMAGE_CHECK, check_image, planned
from mlruntime.validation.state import ProtocolError, RunState, parse_event


@dataclass(frozen=True)
class Check:
    name: str
    timeout: float = 10
    needs: tuple[str, ...] = ()
    gpus: int = 0
    flavour: str = "core"


def start(name: str) -> str:
    return json.dumps({"event": "start", "check": name})


def end(name: str, status: str = "passed", error: str | None = None) -> str:
    return json.dumps(
        {
            "event": "end",
            "check": name,
            "status": status,
            "seconds": 0.5,
            "detail": {"n": 1},
            "error": error,
        }
    )


DONE = json.dumps({"event": "done"})


class Clock:
    """A clock that moves only when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


class Items:
    """A queue that is filled by a script and lets the clock run when it is empty."""

    def __init__(self, script: Sequence[object], clock: Clock) -> None:
        self.script = list(script)
        self.clock = clock

    def get(self, timeout: float) -> object:
        if not self.script:
            self.clock.pause(timeout)
            raise queue.Empty
        item = self.script.pop(0)
        if callable(item):
            item()
            return self.get(timeout)
        return ("stdout", item) if isinstance(item, str) else item


@dataclass
class Process:
    items: Items
    stubborn: bool = False
    killed: bool = False

    def kill(self) -> None:
        self.killed = True
        self.items.script = [] if self.stubborn else [137]


@dataclass
class CheckTarget:
    """Gives each launched process the next script."""

    clock: Clock
    scripts: list[Sequence[object]]
    launched: list[tuple[str, ...]] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    dead: tuple[str, str] | None = None
    stubborn: bool = False

    def launch(self, names: Sequence[str]) -> Process:
        self.launched.append(tuple(names))
        items = Items(self.scripts.pop(0), self.clock)
        self.processes.append(Process(items, self.stubborn))
        return self.processes[-1]

    def casualty(self) -> tuple[str, str] | None:
        return self.dead


@dataclass
class Heard:
    told: list[tuple[str, str]] = field(default_factory=list)
    waited: int = 0
    on_start: Callable[[str], None] = lambda name: None

    def started(self, name: str) -> None:
        self.on_start(name)
        self.told.append(("started", name))

    def ended(self, result: CheckResult) -> None:
        self.told.append((result.status, result.name))

    def waiting(self, name: str | None, seconds: float) -> None:
        self.waited += 1


def run(
    names: Sequence[str], *scripts: Sequence[object], **options: object
) -> tuple[dict[str, CheckResult], CheckTarget, Heard]:
    clock = Clock()
    bench = CheckTarget(clock, list(scripts), **options)  # type: ignore[arg-type]
    heard = Heard()
    checks = [Check(name) for name in names]
    runner = Runner(checks, bench, heard, clock=clock, pause=clock.pause)  # type: ignore[arg-type]
    return runner.run(), bench, heard


def statuses(results: dict[str, CheckResult]) -> list[str]:
    return [results[name].status for name in sorted(results)]


def message(results: dict[str, CheckResult], name: str) -> str:
    return results[name].message


def test_all_pass() -> None:
    results, bench, heard = run(
        ["a.1", "b.1"], [start("a.1"), end("a.1"), start("b.1"), end("b.1"), DONE, 0]
    )
    assert statuses(results) == ["passed", "passed"]
    assert bench.launched == [("a.1", "b.1")]
    assert not bench.processes[0].killed
    assert heard.told == [
        ("started", "a.1"), ("passed", "a.1"), ("started", "b.1"), ("passed", "b.1"),
    ]  # fmt: skip


def test_a_failed_check_does_not_stop_the_others() -> None:
    results, bench, _ = run(
        ["a", "b"], [start("a"), end("a", "failed", "1 != 2"), start("b"), end("b"), DONE, 0]
    )
    assert statuses(results) == ["failed", "passed"]
    assert len(bench.launched) == 1


def test_a_time_limit_kills_the_process_and_the_rest_goes_on_in_another() -> None:
    results, bench, heard = run(
        ["a", "b"], [start("a"), ("stderr", "stuck here")], [start("b"), end("b"), DONE, 0]
    )
    assert message(results, "a") == "did not end within its 10 s and was killed"
    assert "stuck here" in str(results["a"].error)
    assert results["a"].seconds == pytest.approx(10, abs=1)
    assert results["b"].status == "passed"
    assert bench.processes[0].killed
    assert bench.launched[1] == ("b",)
    assert heard.waited > 10


class Waiting(Items):
    """Says nothing for a while, in steps as the runner takes them."""

    def __init__(self, script: Sequence[object], clock: Clock, silence: float) -> None:
        super().__init__(script, clock)
        self.until = clock.now + silence

    def get(self, timeout: float) -> object:
        if len(self.script) < 4 and self.clock.now < self.until:
            self.clock.pause(timeout)
            raise queue.Empty
        return super().get(timeout)


@pytest.mark.parametrize(
    ("measured", "status"), [([2.0, 4.0], "passed"), ([1.0], "failed"), ([2.0, 2.1], "failed")]
)
def test_a_check_that_is_alive_when_the_host_becomes_busy_is_not_killed(
    measured: list[float], status: str
) -> None:
    """It takes 35 s with a limit of 10 s; the host is looked at whenever the limit is reached."""
    clock = Clock()
    bench = CheckTarget(clock, [])
    items = Waiting([start("a"), end("a"), DONE, 0], clock, silence=35)
    bench.launch = lambda names: Process(items)  # type: ignore[method-assign, assignment, arg-type]
    runner = Runner(
        [Check("a")], bench, Heard(), clock=clock, pause=clock.pause,  # type: ignore[arg-type]
        slower=lambda: measured.pop(0),
    )  # fmt: skip
    results = runner.run()
    assert results["a"].status == status
    assert measured == []
    if status == "failed":
        assert "and was killed" in message(results, "a")


def test_a_stretched_limit_is_told_with_its_factor() -> None:
    clock = Clock()
    bench = CheckTarget(clock, [[start("a")]])
    runner = Runner([Check("a")], bench, Heard(), clock=clock, pause=clock.pause, factor=2.5)  # type: ignore[arg-type]
    assert message(runner.run(), "a") == (
        "did not end within its 25 s (10 s, multiplied by 2.5) and was killed"
    )


def test_output_does_not_extend_a_time_limit() -> None:
    clock = Clock()
    lines = [item for _ in range(40) for item in (lambda: clock.pause(1), ("stderr", "busy"))]
    bench = CheckTarget(clock, [[start("a"), *lines, end("a")]])
    results = Runner([Check("a")], bench, Heard(), clock=clock, pause=clock.pause).run()
    assert message(results, "a") == "did not end within its 10 s and was killed"


def test_silence_before_a_check_fails_that_check() -> None:
    results, _, _ = run(["a", "b"], [], [start("b"), end("b"), DONE, 0])
    assert message(results, "a") == "its program was silent for 60 s before it and was killed"
    assert results["b"].status == "passed"


def test_a_crash_fails_the_running_check_with_its_last_words() -> None:
    results, _, _ = run(
        ["a", "b"], [start("a"), ("stderr", "SIGSEGV"), 139], [start("b"), end("b"), DONE, 0]
    )
    assert results["a"].error == "its process exited with 139 (segmentation fault)\nSIGSEGV"
    assert results["b"].status == "passed"


def test_a_quiet_exit_in_a_check_fails_it() -> None:
    results, _, _ = run(["a"], [start("a"), 0])
    assert message(results, "a") == "its process exited with 0"


def test_a_program_that_never_starts_fails_everything_and_is_not_tried_for_each() -> None:
    crash = [("stderr", "ImportError"), 1]
    results, bench, _ = run(["a", "b", "c", "d"], crash, crash)
    assert statuses(results) == ["failed"] * 4
    assert len(bench.launched) == 2
    assert "ImportError" in str(results["d"].error)


def test_done_too_early_fails_what_was_left_out() -> None:
    results, bench, _ = run(["a", "b", "c"], [start("a"), end("a"), DONE, 0])
    assert statuses(results) == ["passed", "failed", "failed"]
    assert message(results, "c") == "the program said it was done without running it"
    assert len(bench.launched) == 1


@pytest.mark.parametrize("ending", [[134], [DONE, 134], [0], []])
def test_no_proper_end_after_the_last_check_fails_that(ending: list[object]) -> None:
    results, _, _ = run(["a", "b"], [start("a"), end("a"), start("b"), end("b"), *ending])
    assert statuses(results) == ["passed", "failed"]
    assert "after its last check" in message(results, "b")


@pytest.mark.parametrize(
    "line",
    [
        "WARN something",
        "[]",
        '{"event": "start"}',
        '{"event": "start", "check": "zzz"}',
        '{"event": "start", "check": ["a"]}',
        '{"event": "end", "check": "a", "status": "passed"}',
        end("a", "skipped"),
        end("a", "passed", "but"),
        end("a", "failed", None),
        end("a").replace("0.5", "NaN"),
        end("a").replace('"n": 1', '"n": 1e999'),
        end("a").replace("0.5", "-1"),
        end("a").replace("0.5", "true"),
        end("b"),
        start("b"),
        DONE,
    ],
)
def test_what_is_out_of_place_fails_the_running_check(line: str) -> None:
    rest = [start("b"), end("b"), DONE, 0]
    results, bench, _ = run(["a", "b"], [start("a"), line, end("a")], rest)
    assert message(results, "a").startswith("protocol error")
    assert bench.processes[0].killed


def test_ending_twice_fails_a_check_that_had_passed() -> None:
    results, _, _ = run(
        ["a", "b"], [start("a"), end("a"), end("a")], [start("b"), end("b"), DONE, 0]
    )
    assert message(results, "a") == "protocol error: a ended a second time"


def test_a_program_that_repeats_itself_forever_comes_to_an_end() -> None:
    script = [end("a")]
    results, bench, _ = run(["a", "b", "c"], *[script] * 10)
    assert statuses(results) == ["failed"] * 3
    assert len(bench.launched) == 3


def test_a_dead_node_fails_the_running_check_and_all_that_follow() -> None:
    clock = Clock()
    bench = CheckTarget(clock, [[start("a"), end("a"), start("b")]])

    def die(name: str) -> None:
        if name == "b":
            bench.dead = ("worker-1 exited with 137", "last words")

    heard = Heard(on_start=die)
    checks = [Check(name) for name in "abcd"]
    results = Runner(checks, bench, heard, clock=clock, pause=clock.pause).run()
    assert statuses(results) == ["passed", "failed", "failed", "failed"]
    assert results["b"].error == "worker-1 exited with 137\nlast words"
    assert results["d"].error == "not started, because worker-1 exited with 137"
    assert bench.processes[0].killed
    assert len(bench.launched) == 1


def test_a_check_that_passes_on_a_cluster_that_lost_a_node_has_failed() -> None:
    clock = Clock()
    bench = CheckTarget(clock, [])
    dead = ("worker-2 exited with 1", "")
    bench.scripts = [[start("a"), lambda: setattr(bench, "dead", dead), end("a"), 0]]
    results = Runner([Check("a")], bench, Heard(), clock=clock, pause=clock.pause).run()
    assert results["a"].error == "worker-2 exited with 1"


def test_the_node_that_took_the_program_with_it_is_named_even_if_its_death_shows_later() -> None:
    clock = Clock()
    bench = CheckTarget(clock, [[start("a"), 137]])
    calls = 0

    def casualty() -> tuple[str, str] | None:
        nonlocal calls
        calls += 1
        return ("driver exited with 137", "") if calls > 4 else None

    bench.casualty = casualty  # type: ignore[method-assign]
    results = Runner([Check("a")], bench, Heard(), clock=clock, pause=clock.pause).run()
    assert results["a"].error == "driver exited with 137"


def test_an_engine_that_goes_away_is_not_the_images_fault() -> None:
    with pytest.raises(Unavailable):
        run(["a"], [start("a"), CommandFailed("stream broke")])


def test_a_process_that_cannot_be_killed_ends_the_validation() -> None:
    results, bench, _ = run(["a", "b"], [start("a")], stubborn=True)
    assert results["b"].error == "not started, because a check's program cannot be killed"
    assert len(bench.launched) == 1


LINES = st.one_of(
    st.sampled_from([start("a"), end("a"), start("b"), end("b", "failed", "x"), DONE, "noise"]),
    st.sampled_from([0, 1, 137]),
)


@given(st.lists(st.lists(LINES, max_size=6), min_size=4, max_size=4))
def test_whatever_programs_do_every_check_gets_a_result(scripts: list[list[object]]) -> None:
    results, _, heard = run(["a", "b"], *scripts)
    assert set(results) == {"a", "b"}
    for name in ("a", "b"):
        told = [status for status, about in heard.told if about == name and status != "started"]
        assert told[-1] == results[name].status
        ends = sum(end(name) in script for script in scripts)
        assert results[name].status == "failed" or ends > 0


def test_half_a_surrogate_pair_is_made_writable() -> None:
    event = parse_event(end("a", "failed", "x").replace('"x"', '"\\ud800"'))
    assert event.result.error.encode() == b"?"  # type: ignore[union-attr]


def test_going_on_after_done_is_an_error() -> None:
    run = RunState([Check("a")])
    run.begin(0)
    run.read(DONE, 0)
    with pytest.raises(ProtocolError, match="went on"):
        run.read(start("a"), 0)


# what is selected, and what is expected of it


def artifact(kind: str, name: str, version: str) -> Artifact:
    return Artifact(
        kind=kind, name=name, version=version, filename=name, size=1, sha256="0" * 64, origin="pypi"
    )


LOCK = Lock(
    runtime="6.0-ml",
    inputs=(),
    snapshot="2026-11-20T00:00:00Z",
    components=(("spark", "3.5.9"), ("java", "17"), ("graphframes", "0.11")),
    omitted=(Omission(component="graphframes", artifact="g:a", why="no such jar"),),
    os=(),
    build_depends=(),
    python=(artifact("sdist", "pyspark", "3.5.9"), artifact("wheel", "numpy", "1.26.4")),
    jars=(),
    variants=(
        Variant(
            name="cpu",
            python=(artifact("wheel", "tensorflow-cpu", "2.15.1"),),
            native=(
                NativeWheel(
                    name="horovod",
                    version="0.28.1",
                    python="3.11",
                    sdist=artifact("sdist", "horovod", "0.28.1"),
                    link_against=(),
                    requirements=(artifact("wheel", "cmake", "3.31"),),
                    environment=(),
                    patches=(),
                    base="",
                    build_depends="",
                ),
            ),
        ),
    ),
)


def test_packages_are_those_of_the_image_not_of_the_compile() -> None:
    assert python_packages(LOCK, "cpu") == {
        "horovod": "0.28.1",
        "numpy": "1.26.4",
        "pyspark": "3.5.9",
        "tensorflow-cpu": "2.15.1",
    }


def test_the_expectation_has_the_documented_keys() -> None:
    value = expectation(
        LOCK,
        "cpu",
        libraries={"sparkdl": "0.1.0"},
        image="sha256:1",
        master="spark://m:7077",
        driver="d",
        workers=("w1", "w2"),
        nodes={"w1": "sha256:1"},
        shared="/shared",
        settings={"spark.task.resource.gpu.amount": "1"},
    )
    assert value["workers"] == 2
    assert value["settings"] == {"spark.task.resource.gpu.amount": "1"}
    assert value["java"] == "17"
    assert value["components"] == {"spark": "3.5.9", "java": "17"}
    assert value["python_packages"]["sparkdl"] == "0.1.0"
    json.dumps(value)


CHECKS = [Check("graphframes.bfs"), Check("mllib.pca"), Check("mllib.als")]


def test_an_omitted_component_is_not_run_with_the_declared_reason() -> None:
    plan = planned(CHECKS, (), LOCK, "cpu")
    assert plan.names == (IMAGE_CHECK, "graphframes.bfs", "mllib.pca", "mllib.als")
    assert [check.name for check in plan.programs] == ["mllib.pca", "mllib.als"]
    assert plan.absent == {"graphframes.bfs": "the lock leaves graphframes out: no such jar"}


def test_a_check_of_a_component_that_nobody_asked_for_has_no_place() -> None:
    checks = [*CHECKS, Check("mllib.java", needs=("java",)), Check("mllib.tf", needs=("tf-keras",))]
    assert planned(checks, (), LOCK, "cpu").names == (IMAGE_CHECK, *(c.name for c in checks[:-1]))
    with pytest.raises(UsageError, match=r"there is no check 'mllib\.tf'"):
        planned(checks, ("mllib.tf",), LOCK, "cpu")


def test_a_check_that_needs_an_omitted_component_is_not_run() -> None:
    checks = [*CHECKS, Check("mllib.graph", needs=("graphframes",))]
    plan = planned(checks, (), LOCK, "cpu")
    assert plan.absent["mllib.graph"] == "the lock leaves graphframes out: no such jar"
    assert "mllib.graph" in plan.names


def test_only_what_is_asked_for_counts() -> None:
    plan = planned(CHECKS, ("mllib",), LOCK, "cpu")
    assert plan.names == ("mllib.pca", "mllib.als")
    assert not plan.image
    assert not plan.absent
    assert planned(CHECKS, ("mllib.als", "identity"), LOCK, "cpu").names == (
        IMAGE_CHECK,
        "mllib.als",
    )


def test_a_check_of_a_flavour_is_asked_of_its_images_only() -> None:
    checks = [*CHECKS, Check("mllib.more", flavour="ml")]
    assert "mllib.more" not in planned(checks, (), LOCK, "cpu").names
    ml = Flavour(name="ml", request="", components=(), omitted=(), python=(), jars=(), variants=())
    assert "mllib.more" in planned(checks, (), replace(LOCK, flavours=(ml,)), "cpu").names


def test_a_check_that_needs_more_gpus_than_there_are_is_not_run() -> None:
    checks = [*CHECKS, Check("gpu.matmul", gpus=1), Check("gpu.ranks", gpus=2)]
    none = planned(checks, ("gpu",), LOCK, "cpu", gpus=0, why_no_more="no driver answers")
    assert none.programs == ()
    assert none.absent == {
        "gpu.matmul": "needs a GPU: no driver answers",
        "gpu.ranks": "needs 2 GPUs: no driver answers",
    }
    one = planned(checks, ("gpu",), LOCK, "cpu", gpus=1, why_no_more="the host has one")
    assert [check.name for check in one.programs] == ["gpu.matmul"]
    assert one.absent == {"gpu.ranks": "needs 2 GPUs: the host has one"}
    assert len(planned(checks, ("gpu",), LOCK, "cpu", gpus=2, why_no_more="").programs) == 2


def test_an_unknown_check_is_a_usage_error() -> None:
    with pytest.raises(UsageError) as caught:
        selected(["mllib.pca"], ["mlib.pca"])
    assert caught.value.hint == "did you mean 'mllib.pca'?"


def image(**changed: str) -> ImageInfo:
    return ImageInfo(
        id="sha256:1",
        tags=(),
        labels={**labels(LOCK, "cpu"), **changed},
        size=1,
        user="ml",
        environment=(),
        diff_ids=(),
    )


def test_the_image_check_compares_every_node_and_label() -> None:
    nodes = {"m": "sha256:1", "w": "sha256:1"}
    assert check_image(image(), nodes, labels(LOCK, "cpu")).status == "passed"
    other = check_image(image(), {**nodes, "w": "sha256:2"}, labels(LOCK, "cpu"))
    assert other.error == "w runs sha256:2, not sha256:1"
    key = "io.mlruntime.component.spark"
    wrong = check_image(image(**{key: "3.4.0"}), nodes, labels(LOCK, "cpu"))
    assert wrong.error == f"label {key} is '3.4.0', it must be '3.5.9'"
    both = replace(LOCK, variants=(*LOCK.variants, replace(LOCK.variants[0], name="gpu")))
    assert check_image(image(), nodes, labels(both, "gpu")).status == "failed"
    planned = labels(LOCK, "cpu", "sha256:plan")
    assert check_image(image(), nodes, planned).error == (
        "label io.mlruntime.plan.digest is None, it must be 'sha256:plan'"
    )
    assert check_image(image(**planned), nodes, planned).status == "passed"


def test_the_archive_holds_the_programs_and_the_expectation(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_bytes(b"")
    (tmp_path / "main.py").write_text("1")
    with tarfile.open(fileobj=io.BytesIO(resources.archive({"a": 1}, tmp_path))) as tar:
        ours = [name for name in tar.getnames() if "elftools" not in name]
        assert ours == [
            "mlruntime-checks",
            "mlruntime-checks/programs",
            "mlruntime-checks/programs/main.py",
            "mlruntime-checks/expect.json",
        ]
        assert "mlruntime-checks/elftools/elf/elffile.py" in tar.getnames()
        member = tar.extractfile("mlruntime-checks/expect.json")
        assert member is not None
        assert json.load(member) == {"a": 1}
