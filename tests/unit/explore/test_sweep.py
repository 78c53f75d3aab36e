"""The driver of a sweep, with stages that do as they are told; and the verb around it."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlruntime.cli import main
from mlruntime.cli.matrix.explore import seconds
from mlruntime.errors import (
    CommandFailed,
    Damaged,
    MlruntimeError,
    StorageError,
    Unavailable,
    UsageError,
)
from mlruntime.explore.combinations import Combination, parse_settings
from mlruntime.explore.record import CombinationRecord
from mlruntime.explore.stages import HostStages
from mlruntime.explore.state import StateFolder
from mlruntime.explore.sweep import EngineImage, Limits, Resolved, Sweep, SweepResult
from mlruntime.lock.model import Lock
from mlruntime.matrix.parsing import parse_matrix
from mlruntime.resolve.resolution import resolve
from mlruntime.validation.report import CheckResult, Report

from tests.unit.explore.test_exploring import MATRIX, check, report
from tests.unit.lock.test_lock import tiny

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parents[2] / "golden" / "exploring"
FACTS = parse_matrix(MATRIX, file="matrix.yaml")
Trouble = Callable[[], BaseException | None]


@dataclass
class Fake:
    """Stages; ``trouble`` raises, by (stage, combination); ``slow`` is what each stage takes."""

    trouble: dict[tuple[str, str], BaseException] = field(default_factory=dict)
    checks: dict[str, tuple[CheckResult, ...]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    key: str = "k"
    slow: float = 10.0
    time: float = 0.0
    image: str = "sha256:" + "1" * 64

    def _do(self, stage: str, name: str) -> None:
        self.calls.append((stage, name))
        self.time += self.slow
        if (error := self.trouble.get((stage, name))) is not None:
            raise error

    def resolve(self, combination: Combination) -> Resolved:
        found = resolve(FACTS, combination.request)
        versions = tuple((name, str(version)) for name, version in found.versions)
        return Resolved(key=self.key, versions=versions)

    def lock(self, combination: Combination, say: Callable[[str], None]) -> Lock:
        say("Debian: 1 packages")
        self._do("lock", combination.name)
        chosen = ((name, str(version)) for name, version in combination.versions)
        return replace(tiny(), components=(*chosen, ("spark", "3.5.9")))

    def build(
        self,
        combination: Combination,
        lock: Lock,
        say: Callable[[str], None],
        log: Callable[[str], None],
    ) -> EngineImage:
        log("cc1plus: warning: nothing")
        log("x.cc:3: fatal error: no such header")
        self._do("build", combination.name)
        return EngineImage(image="sha256:0", digest=self.image)

    def validate(self, lock: Lock, built: EngineImage, say: Callable[[str], None]) -> Report:
        name = self.calls[-1][1]
        self._do("validate", name)
        return report(*self.checks.get(name, (check("keras.fit", "passed"),)))

    def discard(self, combination: Combination) -> None:
        self.calls.append(("discard", combination.name))


A, B, C = (
    "tensorflow-2.16.2_horovod-0.28.1-mlr.1",
    "tensorflow-2.15.1_horovod-0.28.1-mlr.1",
    "tensorflow-2.14.1_horovod-0.28.1-mlr.1",
)
SPACE = ("tensorflow=2.14..2.16", "horovod=0.28.1+mlr.1")


@dataclass
class Bench:
    state: StateFolder
    fake: Fake = field(default_factory=Fake)
    said: list[str] = field(default_factory=list)

    def sweep(self, *settings: str, **limits: object) -> SweepResult:
        return Sweep(
            parse_settings(settings or SPACE, (), FACTS).combinations,
            self.state,
            self.fake,
            runtime="6.0-ml",
            limits=Limits(**limits),  # type: ignore[arg-type]
            say=self.said.append,
            clock=lambda: self.fake.time,
            now=lambda: datetime(2026, 11, 25, 12, tzinfo=UTC),
        ).run()

    def stages(self) -> list[tuple[str, str]]:
        return [call for call in self.fake.calls if call[0] != "discard"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(state=StateFolder(tmp_path / "state"))


def levels(outcome: SweepResult) -> dict[str, str | None]:
    return {record.name: record.level for record in outcome.records}


def test_every_combination_goes_all_the_way(bench: Bench) -> None:
    outcome = bench.sweep()
    assert levels(outcome) == {A: "cluster", B: "cluster", C: "cluster"}
    assert (outcome.left, outcome.why) == ((), None)
    record = outcome.records[0]
    assert record.image == bench.fake.image
    assert record.checks is not None and record.checks.passed == ("keras.fit",)
    assert record.seconds == {"resolve": 0, "lock": 10, "build": 10, "validate": 10}
    assert bench.state.text(A, "report") is not None
    assert "no such header" in bench.state.log(A).read_text(encoding="utf-8")
    assert not any("no such header" in line for line in bench.said), "that is for the log"
    assert Counter(stage for stage, _ in bench.fake.calls)["discard"] == 3


def test_what_is_done_is_not_done_again(bench: Bench) -> None:
    bench.sweep()
    bench.fake.calls.clear()
    assert levels(bench.sweep()) == {A: "cluster", B: "cluster", C: "cluster"}
    assert bench.fake.calls == []


def test_it_is_done_again_when_something_that_counts_has_changed(bench: Bench) -> None:
    bench.sweep()
    bench.fake.calls.clear()
    bench.fake.key = "another"
    bench.sweep()
    assert bench.stages()[:2] == [("lock", A), ("build", A)]


@pytest.mark.parametrize(
    ("stage", "level"), [("lock", "resolved"), ("build", "locked"), ("validate", "built")]
)
def test_an_interrupt_loses_nothing(bench: Bench, stage: str, level: str) -> None:
    bench.fake.trouble[stage, B] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        bench.sweep()
    assert bench.fake.calls[-1] == ("discard", B)
    record = bench.state.record(B)
    assert record is not None
    assert (record.level, record.failure) == (level, None)
    bench.fake.trouble.clear()
    bench.fake.calls.clear()
    assert levels(bench.sweep()) == {A: "cluster", B: "cluster", C: "cluster"}
    # The lock is kept; what was built comes from the store, for the engine may have lost it.
    again = {"lock": ["lock", "build", "validate"]}.get(stage, ["build", "validate"])
    assert [s for s, name in bench.stages() if name == B] == again
    assert A not in {name for _, name in bench.fake.calls}


@pytest.mark.parametrize("stage", ["lock", "build"])
def test_a_failure_is_named_and_the_sweep_goes_on(bench: Bench, stage: str) -> None:
    bench.fake.trouble[stage, B] = CommandFailed("horovod could not be built", why="the end")
    outcome = bench.sweep()
    assert levels(outcome)[A] == levels(outcome)[C] == "cluster"
    record = bench.state.record(B)
    assert record is not None and record.failure is not None
    assert record.level == {"lock": "resolved", "build": "locked"}[stage]
    assert record.failure.log == str(bench.state.log(B))
    assert record.failure.lines[-2:] == ("horovod could not be built", "  why: the end")
    assert "  why: the end\n" in bench.state.log(B).read_text(encoding="utf-8")
    told = "\n".join(bench.said)
    assert str(bench.state.log(B)) in told
    if stage == "build":
        assert record.failure.kind == "does not compile"
        assert "x.cc:3: fatal error: no such header" in record.failure.lines
        assert "fatal error: no such header" in told
    bench.fake.calls.clear()
    bench.sweep()
    assert bench.fake.calls == [], "a failure is a result"
    bench.fake.trouble.clear()
    assert levels(bench.sweep(retry=True))[B] == "cluster"


def test_checks_that_fail_leave_it_at_built(bench: Bench) -> None:
    bench.fake.checks[B] = (check("keras.fit", "passed"), check("horovod.keras", "failed"))
    bench.fake.checks[C] = (check("keras.fit", "passed"), check("graphframes.bfs", "not-run"))
    outcome = bench.sweep()
    assert levels(outcome) == {A: "cluster", B: "built", C: "built"}
    kinds = [record.failure and record.failure.kind for record in outcome.records]
    assert kinds == [None, "checks failed", "checks not run"]


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("no container engine answers"),
        StorageError("no space left on the disk"),
        Damaged("toy-1.whl: damaged in the store"),
    ],
)
@pytest.mark.parametrize("stage", ["lock", "build", "validate"])
def test_what_is_no_combination_s_fault_ends_the_sweep(
    bench: Bench, stage: str, error: MlruntimeError
) -> None:
    bench.fake.trouble[stage, A] = error
    with pytest.raises(type(error)):
        bench.sweep()
    record = bench.state.record(A)
    assert record is not None
    assert record.failure is None, "it will be tried again"


def test_what_the_rules_forbid_is_a_result_and_follows_the_rules(bench: Bench) -> None:
    outcome = bench.sweep("tensorflow=2.16.2", "horovod=0.28.0,0.28.1+mlr.1")
    good, bad = outcome.records
    assert good.level == "cluster"
    assert bad.failure is not None
    assert (bad.level, bad.failure.kind, outcome.left) == (None, "ruled out", ())
    assert parse_settings(["tensorflow=2.16.2"], (), FACTS).combinations[0].name != bad.name


def test_a_goal_short_of_the_cluster(bench: Bench) -> None:
    outcome = bench.sweep(goal="locked")
    assert set(levels(outcome).values()) == {"locked"}
    assert {stage for stage, _ in bench.stages()} == {"lock"}
    outcome = bench.sweep(goal="cluster")
    assert set(levels(outcome).values()) == {"cluster"}
    assert Counter(stage for stage, _ in bench.stages())["lock"] == 3


def test_what_cannot_fit_is_not_started(bench: Bench) -> None:
    outcome = bench.sweep(seconds=299.0)
    assert [c.name for c in outcome.left] == [A, B, C]
    assert outcome.why == "the next may take 300 s, and 299 s of the budget are left"
    assert bench.stages() == []
    outcome = bench.sweep(seconds=300.0)
    assert outcome.left == (), "the first took 30 s, so the others are taken to"


def test_how_long_the_next_takes_is_learnt_from_the_longest(bench: Bench) -> None:
    bench.fake.slow = 100.0
    bench.sweep("tensorflow=2.16.2", "horovod=0.28.1+mlr.1")
    outcome = bench.sweep(seconds=599.0)
    assert [c.name for c in outcome.left] == [C]
    assert outcome.why == "the next may take 300 s, and 299 s of the budget are left"


def test_at_most_so_many(bench: Bench) -> None:
    outcome = bench.sweep(most=1)
    assert [c.name for c in outcome.left] == [B, C]
    assert outcome.why == "1 were asked for"
    assert bench.sweep(most=2).left == ()


def test_a_record_that_was_half_edited_is_refused_with_its_place(bench: Bench) -> None:
    bench.sweep()
    path = bench.state.path(B, "record")
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        bench.sweep()
    assert str(path) in str(caught.value)


def test_a_record_is_never_half_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sweep(most=1)
    before = bench.state.path(A, "record").read_text(encoding="utf-8")

    def torn(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", torn)
    with pytest.raises(StorageError):
        bench.state.write(A, "record", "half")
    monkeypatch.undo()
    assert bench.state.path(A, "record").read_text(encoding="utf-8") == before
    assert not [p for p in bench.state.root.iterdir() if p.name.startswith(".")]


# the verb


@pytest.mark.parametrize(
    ("text", "expected"), [("45m", 2700), ("1h30m", 5400), ("90s", 90), ("0s", 0)]
)
def test_budgets(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "45", "m", "45 m", "-1m", "1.5h", "1d"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        seconds(text)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Our definitions with a matrix of three components, and a page for the evidence."""
    root = tmp_path / "own"
    shutil.copytree(ROOT / "images", root / "images")
    (root / "runtimes/6.0-ml").mkdir(parents=True)
    (root / "docs").mkdir()
    (root / "matrix.yaml").write_text(MATRIX, encoding="utf-8")
    (root / "docs/evidence.md").write_text(
        "# Evidence\n\n<!-- evidence -->\n<!-- /evidence -->\n\nThe end.\n", encoding="utf-8"
    )
    (root / "runtimes/6.0-ml/runtime.yaml").write_text(
        "runtime: 6.0-ml\nsummary: x\nsnapshot: 2026-11-20T00:00:00Z\nvariants: [cpu]\n"
        'request: {spark: "==3.5.*", tensorflow: "*"}\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "store"))
    return root


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Replace what reaches registries and engine; resolving stays real."""
    made = Fake()
    for stage in ("lock", "build", "validate", "discard"):

        def call(self: object, *words: object, stage: str = stage) -> object:
            return getattr(made, stage)(*words)

        monkeypatch.setattr(HostStages, stage, call)
    return made


def explore(
    root: Path, capsys: pytest.CaptureFixture[str], *words: str, runtime: str = "6.0-ml"
) -> tuple[int, str, str]:
    code = main(["--root", str(root), "matrix", "explore", runtime, *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


AXES = ("--axis", "tensorflow=2.15..2.16", "--axis", "horovod=0.28.1+mlr.1")


def test_evidence_is_written_when_asked_for(
    own: Path, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.checks[B] = (check("keras.fit", "failed"),)
    code, out, _ = explore(own, capsys, *AXES)
    assert code == 0
    assert "tensorflow 2.16.2, horovod 0.28.1+mlr.1  cluster  -" in out
    assert "keras.fit: keras.fit went wrong" in out
    assert (own / "matrix.yaml").read_text(encoding="utf-8") == MATRIX
    code, out, _ = explore(own, capsys, *AXES, "--write", "--json")
    written = json.loads(out)["written"]
    folder = "runtimes/6.0-ml/evidence/combinations"
    assert written == [
        f"{folder}/{A}.json",
        f"{folder}/{B}.json",
        "matrix.yaml",
        "docs/evidence.md",
    ]
    rules = parse_matrix((own / "matrix.yaml").read_text(encoding="utf-8"), file="x").rules_by_id
    assert rules["horovod-tensorflow-2.16"].evidence == "cluster"
    assert rules["horovod-tensorflow-2.15"].evidence == "built"
    page = (own / "docs/evidence.md").read_text(encoding="utf-8")
    assert "| 2.16.2 | 0.28.1+mlr.1 | 3.5.9 | 6.0-ml | 1: keras |" in page
    assert page.startswith("# Evidence\n") and page.endswith("\n\nThe end.\n")
    kept = json.loads((own / folder / f"{A}.json").read_text(encoding="utf-8"))
    assert kept["report"]["checks"][0]["name"] == "keras.fit"
    assert str(own.parent) not in json.dumps(kept)
    fake.calls.clear()
    explore(own, capsys, *AXES, "--write")
    assert not fake.calls, "evidence that was written changes nothing that counts"


def test_what_is_left_is_told_and_exits_with_8(
    own: Path, fake: Fake, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = (*AXES, "--state", str(tmp_path / "st"), "--budget", "10m")
    code, out, err = explore(own, capsys, *words, "--most", "1")
    assert code == 8
    assert "Left: 1 were asked for\n  tensorflow 2.15.1, horovod 0.28.1+mlr.1" in out
    assert "[1/2] tensorflow 2.16.2" in err
    assert (tmp_path / "st" / f"{A}.record.json").is_file()
    code, out, _ = explore(own, capsys, *words)
    assert code == 0
    assert "Left" not in out


def test_ctrl_c_says_how_to_go_on(
    own: Path, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.trouble["build", A] = KeyboardInterrupt()
    code, out, err = explore(own, capsys, *AXES)
    assert (code, out) == (130, "")
    assert "the same command goes on from there" in err


def test_an_ignored_rule_lets_the_forbidden_be_tried(
    own: Path, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--axis", "tensorflow=2.16.2", "--axis", "horovod=0.28.0", "--json")
    code, out, _ = explore(own, capsys, *words)
    assert json.loads(out)["combinations"][0]["failure"]["kind"] == "ruled out"
    words += ("--ignore-rule", "horovod-tensorflow", "--ignore-rule", "horovod-tensorflow-2.16")
    code, out, _ = explore(own, capsys, *words)
    assert (code, json.loads(out)["combinations"][0]["level"]) == (0, "cluster")


BAD = {
    "an unknown runtime": ("6.0-lm", AXES),
    "no axis": ("6.0-ml", ()),
    "an unknown component": ("6.0-ml", ("--axis", "tensorlow=2.15")),
    "no such release": ("6.0-ml", ("--axis", "tensorflow=2.20..2.21")),
    "no file": ("6.0-ml", ("--axis", "nowhere.yaml")),
    "a file and an axis": ("6.0-ml", (*AXES, "--axis", "nowhere.yaml")),
    "an unknown check": ("6.0-ml", (*AXES, "--only", "kerass")),
    "an unknown level": ("6.0-ml", (*AXES, "--until", "proven")),
    "an unknown rule": ("6.0-ml", (*AXES, "--ignore-rule", "horovod-tensorflo")),
    "an unknown variant": ("6.0-ml", (*AXES, "--variant", "gpu")),
    "not a time": ("6.0-ml", (*AXES, "--budget", "45")),
    "a setting that means nothing": ("6.0-ml", (*AXES, "--set", "spark=3")),
}


def test_bad_words_are_told_with_a_way_out(
    own: Path, fake: Fake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    told = []
    for title, (runtime, words) in BAD.items():
        code, out, err = explore(own, capsys, *words, runtime=runtime)
        assert (code, out) == (2, ""), title
        told.append(f"## {title}\n{err}")
    text = "\n".join(told)
    path = GOLDEN / "usage.txt"
    if os.environ.get("MLRUNTIME_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert not fake.calls


def test_records_name_their_combination() -> None:
    record = CombinationRecord(name="n", runtime="r", axes=(("a", "1"), ("b", "2")), key="k")
    assert record.text == "a 1, b 2"
