"""Exploring: axes, the state machine of a record, causes of failures, evidence; no engine."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.definitions.files import Definitions
from mlruntime.errors import (
    ArtifactNotFound,
    CommandFailed,
    InvalidDefinition,
    MlruntimeError,
    UsageError,
)
from mlruntime.explore.combinations import (
    Combinations,
    newest_of_each_minor,
    parse_combinations,
    parse_settings,
)
from mlruntime.explore.diagnosis import Failure, diagnose
from mlruntime.explore.evidence import (
    evidence_json,
    evidence_page,
    findings,
    is_evidence,
    with_findings,
)
from mlruntime.explore.publishing import write_evidence
from mlruntime.explore.record import LEVELS, STAGES, CombinationRecord, parse_record
from mlruntime.explore.state import StateFolder
from mlruntime.explore.sweep import SweepResult
from mlruntime.matrix.parsing import Matrix, parse_matrix
from mlruntime.resolve.resolution import NoSolution, resolve
from mlruntime.validation.report import CheckResult, Report, ReportedHost, Status
from packaging.version import Version

MATRIX = """\
components:
  tensorflow:
    title: TensorFlow
    summary: x
    releases: ["2.14.1", "2.15.0", "2.15.1", "2.16.1", "2.16.2", "2.17.0rc1"]
  horovod: {title: Horovod, summary: x, releases: ["0.28.0", "0.28.1", "0.28.1+mlr.1"]}
  spark: {title: Spark, summary: x, releases: ["3.5.9", "4.0.1"]}
preference: [spark, tensorflow, horovod]
rules:
  - id: horovod-tensorflow
    says: Horovod as published ends with TensorFlow 2.15.
    when: {horovod: "==0.28.0"}
    requires: {tensorflow: "<2.16"}
    evidence: documented
    source: https://example.org/
    date: 2026-11-20
  # Written by `mlruntime matrix explore`.
  - id: horovod-tensorflow-2.15
    says: Horovod 0.28.1 works with TensorFlow 2.15.
    when: {horovod: "*", tensorflow: "==2.15.*"}
    requires: {horovod: "!=0.28.0"}
    evidence: documented
    source: "explored: not yet"
    date: 2026-11-20
  - id: horovod-tensorflow-2.16
    says: Horovod 0.28.1+mlr.1 works with TensorFlow 2.16.
    when: {horovod: "*", tensorflow: "==2.16.*"}
    requires: {horovod: "==0.28.1+mlr.1"}
    evidence: documented
    source: "explored: not yet"
    date: 2026-11-20
"""


PARSED = parse_matrix(MATRIX, file="matrix.yaml")


@pytest.fixture
def matrix() -> Matrix:
    return PARSED


# axes


def versions(tried: Combinations, component: str) -> str:
    (axis,) = (a for a in tried.axes if a.component == component)
    return " ".join(map(str, axis.releases))


@pytest.mark.parametrize(
    ("text", "releases"),
    [
        ("tensorflow=2.14..2.16", "2.16.2 2.15.1 2.14.1"),
        ("tensorflow=2.15..2.15", "2.15.1"),
        ("tensorflow=2.15.0", "2.15.0"),
        ("tensorflow=2.15", "2.15.1"),
        ("tensorflow=2.16,2.14,2.16.2", "2.16.2 2.14.1"),
        ("tensorflow=*", "2.16.2 2.15.1 2.14.1 2.17.0rc1"),
        ("tensorflow=2.16..3", "2.16.2 2.17.0rc1"),
        ("horovod=0.28", "0.28.1+mlr.1"),
        ("horovod=0.28.1", "0.28.1"),
        ("horovod = 0.28.0 , 0.28.1+mlr.1", "0.28.1+mlr.1 0.28.0"),
        ("spark=3..4", "4.0.1 3.5.9"),
    ],
)
def test_what_an_axis_means(matrix: Matrix, text: str, releases: str) -> None:
    tried = parse_settings([text], (), matrix)
    assert versions(tried, tried.axes[0].component) == releases


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([], "there is no axis"),
        (["tensorflow"], "is not an axis"),
        (["tensorflow==2.15.1"], "is not an axis"),
        (["tensorlow=2.15"], "did you mean 'tensorflow'?"),
        (["tensorflow=2.15", "tensorflow=2.16"], "tensorflow is listed twice"),
        (["tensorflow=2.20"], "'2.20' matches no release"),
        (["tensorflow=2.16..2.15"], "'2.16..2.15' matches no release"),
        (["tensorflow=new"], "'new' is not a version"),
        (["tensorflow="], "'' is not a version"),
        (["tensorflow=2.15.."], "'' is not a version"),
    ],
)
def test_what_is_no_space(matrix: Matrix, settings: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_settings(settings, (), matrix)
    assert message in str(caught.value)


def test_a_space_in_a_file(matrix: Matrix) -> None:
    text = 'axes:\n  tensorflow: 2.15..2.16\n  horovod: ["0.28.0", "0.28.1"]\nset: [spark==3.5.*]\n'
    tried = parse_combinations(text, file="axes.yaml", matrix=matrix)
    assert tried.settings == ("spark==3.5.*",)
    assert [c.name for c in tried.combinations] == [
        "tensorflow-2.16.2_horovod-0.28.1",
        "tensorflow-2.16.2_horovod-0.28.0",
        "tensorflow-2.15.1_horovod-0.28.1",
        "tensorflow-2.15.1_horovod-0.28.0",
    ]
    for bad, message in (
        ("axis: {}", "axes.yaml: axis: unknown key 'axis'"),
        ("axes: {}", "there is no axis"),
        ("axes: {spark: 5}", "axes.yaml: axes.spark: expected text"),
        ('axes: {spark: "5"}', "axes.yaml: axes.spark: '5' matches no release"),
    ):
        with pytest.raises(InvalidDefinition) as caught:
            parse_combinations(bad, file="axes.yaml", matrix=matrix)
        assert message in str(caught.value)


RELEASES = {
    "tensorflow": ("2.14.1", "2.15.0", "2.15.1", "2.16.1", "2.16.2"),
    "horovod": ("0.28.0", "0.28.1", "0.28.1+mlr.1"),
    "spark": ("3.5.9", "4.0.1"),
}


@st.composite
def settings(draw: st.DrawFn) -> dict[str, list[str]]:
    names = draw(st.lists(st.sampled_from(sorted(RELEASES)), min_size=1, unique=True))
    return {name: draw(st.lists(st.sampled_from(RELEASES[name]), min_size=1)) for name in names}


@given(settings())
def test_combinations_are_the_product_in_order(asked: dict[str, list[str]]) -> None:
    matrix = PARSED
    texts = [f"{name}={','.join(chosen)}" for name, chosen in asked.items()]
    combinations = parse_settings(texts, (), matrix).combinations
    assert len(combinations) == prod(len(set(chosen)) for chosen in asked.values())
    assert len({c.versions for c in combinations}) == len(combinations)
    assert len({c.name for c in combinations}) == len(combinations)
    for combination in combinations:
        assert [name for name, _ in combination.versions] == list(asked)
        assert all(str(version) in asked[name] for name, version in combination.versions)
    first = [c.versions[0][1] for c in combinations]
    assert first == sorted(first, reverse=True), "the first axis varies slowest"
    backwards = [f"{name}={','.join(reversed(chosen))}" for name, chosen in asked.items()]
    assert parse_settings(backwards, (), matrix).combinations == combinations


@given(settings())
def test_a_combination_asks_for_its_releases_and_no_others(asked: dict[str, list[str]]) -> None:
    matrix = PARSED
    texts = [f"{name}={','.join(chosen)}" for name, chosen in asked.items()]
    for combination in parse_settings(texts, (), matrix).combinations:
        for (name, version), (asking, specifier) in zip(
            combination.versions, combination.request, strict=True
        ):
            releases = matrix.components[name].releases
            assert asking == name
            assert [r for r in releases if specifier.contains(r, prereleases=True)] == [version]


def test_names_are_tags() -> None:
    matrix = PARSED
    (only,) = parse_settings(["horovod=0.28.1+mlr.1"], (), matrix).combinations
    assert only.name == "horovod-0.28.1-mlr.1"
    assert only.text == "horovod 0.28.1+mlr.1"


def test_newest_of_each_minor_prefers_what_is_stable() -> None:
    known = map(Version, ("1.0", "1.1rc1", "1.1.0", "1.0.2", "2.0a1"))
    assert [str(v) for v in newest_of_each_minor(known)] == ["2.0a1", "1.1.0", "1.0.2"]


# the state machine


FRESH = CombinationRecord(name="n", runtime="6.0-ml", axes=(("tensorflow", "2.16.2"),), key="k")
FAILURE = Failure(stage="build", kind="does not compile", what="x", lines=("a", ""), log="/a/b.log")


def at(level: str | None, **changes: object) -> CombinationRecord:
    record = replace(FRESH, **changes)  # type: ignore[arg-type]
    for stage, attained in zip(STAGES, LEVELS, strict=True):
        if record.level == level:
            break
        record = record.attained(stage, seconds=1.04, date="2026-11-25")
        assert record.level == attained
    return record


@given(st.lists(st.tuples(st.sampled_from(STAGES), st.booleans()), max_size=8))
def test_only_the_next_stage_can_follow_and_nothing_follows_a_failure(
    steps: list[tuple[str, bool]],
) -> None:
    record, expected, over = FRESH, 0, False
    for stage, good in steps:
        possible = not over and expected < len(STAGES) and stage == STAGES[expected]
        failure = replace(FAILURE, stage=stage)
        try:
            if good:
                record = record.attained(stage, seconds=1.0, date="2026-11-25")
            else:
                record = record.failed(failure, seconds=1.0, date="2026-11-25")
        except ValueError:
            assert not possible
            continue
        assert possible
        over = not good
        expected += good
    assert record.reached == expected
    assert record.level == (LEVELS[expected - 1] if expected else None)
    assert record.ended() == (over or expected == len(LEVELS))
    assert parse_record(json.dumps(record.to_dict()), file="x") == record


def test_a_goal_may_be_nearer() -> None:
    assert at("locked").ended("locked")
    assert at("built").ended("locked")
    assert not at("resolved").ended("locked")


def test_a_second_try_forgets_the_failure_and_keeps_the_level() -> None:
    failed = at("locked").failed(FAILURE, seconds=9, date="2026-11-25")
    assert failed.ended()
    again = failed.again()
    assert (again.level, again.failure, again.ended()) == ("locked", None, False)
    assert again.attained("build", seconds=1, date="2026-11-26").level == "built"


def check(name: str, status: Status) -> CheckResult:
    error = None if status == "passed" else f"{name} went wrong\nTraceback"
    return CheckResult(name=name, status=status, seconds=1.0, detail={"a": 1}, error=error)


def report(*checks: CheckResult) -> Report:
    host = ReportedHost(kernel="6", cpus=2, memory=1, engine="x")
    return Report(
        runtime="6.0-ml", variant="cpu", image="sha256:1", manifest="sha256:2", lock="sha256:3",
        workers=2, host=host, started="2026-11-25T00:00:00Z", seconds=1.0, checks=checks,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("statuses", "level", "kind"),
    [
        (["passed", "passed"], "cluster", None),
        (["passed", "failed"], "built", "checks failed"),
        (["passed", "not-run"], "built", "checks not run"),
        (["failed", "not-run"], "built", "checks failed"),
        (["not-run"], "built", "checks not run"),
        ([], "built", "checks failed"),
    ],
)
def test_cluster_only_if_every_check_has_passed(
    statuses: Sequence[Status], level: str, kind: str | None
) -> None:
    checks = [check(f"keras.{i}", status) for i, status in enumerate(statuses)]
    record = at("built").validated(report(*checks), seconds=9, date="2026-11-25", log="/x.log")
    assert record.level == level
    assert (record.failure and record.failure.kind) == kind
    assert parse_record(json.dumps(record.to_dict()), file="x") == record
    if record.failure and checks:
        bad = [c for c in checks if c.status != "passed"]
        assert record.failure.lines == tuple(f"{c.name}: {c.name} went wrong" for c in bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "x: format: record format 2 is not known"),
        ({"level": "proven"}, "x: level: unknown value 'proven'"),
        ({"more": 1}, "x: more: unknown key 'more'"),
        ({"failure": {"stage": "x"}}, "x: failure: missing key 'kind'"),
    ],
)
def test_a_record_that_means_nothing(change: dict[str, object], message: str) -> None:
    text = json.dumps(FRESH.to_dict() | change)
    with pytest.raises(UsageError) as caught:
        parse_record(text, file="x")
    assert message in str(caught.value)


# causes


COMPILE = CommandFailed("horovod 0.28.1 could not be built", why="the\nlast\nlines")
CAUSES = {
    "out of memory": [
        "g++: fatal error: Killed signal terminated program cc1plus",
        "cc1plus: out of memory allocating 65536 bytes",
        "virtual memory exhausted: Cannot allocate memory",
        "c++: internal compiler error: std::bad_alloc",
        "make[2]: *** [CMakeFiles/x.dir/build.make:76: x.o] Error 137",
    ],
    "a patch does not apply": [
        "02-xla-headers.patch does not apply: hunk 1 of horovod/CMakeLists.txt",
        "Hunk #2 FAILED at 113.",
        "can't find file to patch at input line 3",
    ],
    "does not compile": [
        "/build/x.cc:3:10: fatal error: llvm/ADT/ArrayRef.h: No such file or directory",
        "ld: x.o: undefined reference to `foo'",
        "CMake Error at CMakeLists.txt:3 (find_package):",
    ],
    "no disk space": ["/tmp/ccX.s: No space left on device"],
    "build failed": ["nothing that anybody knows"],
}


@pytest.mark.parametrize(
    ("kind", "sign"), [(kind, sign) for kind, signs in CAUSES.items() for sign in signs]
)
def test_the_cause_is_read_off_the_log(kind: str, sign: str) -> None:
    log = ["compiling", sign, *(f"line {n}" for n in range(60)), "Error 1"]
    log = log if kind != "build failed" else log[:-1]
    found = diagnose("build", COMPILE, log, "/state/n.log")
    assert found.kind == kind
    assert found.log == "/state/n.log"
    assert found.lines[-1] == log[-1]
    assert (sign in found.lines) == (kind != "build failed"), "however far up it stands"
    assert len(found.lines) <= 22


def test_the_first_cause_hides_those_that_follow_from_it() -> None:
    log = ["x.cc:1: fatal error: no such file", "g++: Killed signal terminated program cc1plus"]
    assert diagnose("build", COMPILE, log, None).kind == "out of memory"


def test_without_a_log_the_error_speaks() -> None:
    error = CommandFailed("x", why="01-a.patch does not apply: hunk 1")
    found = diagnose("build", error, (), "/x.log")
    assert (found.kind, found.lines) == ("a patch does not apply", (error.why,))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ArtifactNotFound("the package index does not have x"), "not in the registry"),
        (InvalidDefinition("x has no wheel and no recipe"), "lock failed"),
    ],
)
def test_other_stages(error: MlruntimeError, kind: str) -> None:
    assert diagnose("lock", error, ("error: x",), None).kind == kind


def test_what_the_rules_say_no_to(matrix: Matrix) -> None:
    asked = parse_settings(["tensorflow=2.16.2", "horovod=0.28.0"], (), matrix).combinations[0]
    with pytest.raises(NoSolution) as caught:
        resolve(matrix, asked.request)
    found = diagnose("resolve", caught.value, (), None)
    assert found.kind == "ruled out"
    assert "[horovod-tensorflow-2.16]" in found.what or "[horovod-tensorflow]" in found.what
    assert any("These rules" in line for line in found.lines)


# evidence


def tried(
    tensorflow: str, horovod: str, level: str | None, date: str = "2026-11-25", **changes: object
) -> CombinationRecord:
    axes = (("tensorflow", tensorflow), ("horovod", horovod))
    base = at(min(level or "", "built", key=(*LEVELS, "").index) if level else None)
    record = replace(base, name=f"tf-{tensorflow}", axes=axes, versions=axes, date=date)
    image = "sha256:" + "a" * 64 if record.level == "built" else None
    record = replace(record, image=image, **changes)  # type: ignore[arg-type]
    if level == "cluster":
        passed = report(check("horovod.built", "passed"), check("keras.fit", "passed"))
        return record.validated(passed, seconds=1, date=date, log="/home/me/x.log")
    stage = STAGES[record.reached]
    return record.failed(
        replace(FAILURE, stage=stage, kind="checks failed" if stage == "validate" else "broke"),
        seconds=1,
        date=date,
    )


def rules_after(matrix: Matrix, *records: CombinationRecord) -> dict[str, tuple[str, str, str]]:
    text = with_findings(MATRIX, findings(matrix, records))
    rules = parse_matrix(text, file="matrix.yaml").rules
    return {rule.id: (rule.evidence, rule.date, rule.source) for rule in rules}


def test_a_rule_gets_what_was_proven_for_it(matrix: Matrix) -> None:
    found = rules_after(
        matrix,
        tried("2.16.2", "0.28.1+mlr.1", "cluster"),
        tried("2.15.1", "0.28.1", "built"),
    )
    evidence, date, source = found["horovod-tensorflow-2.16"]
    assert (evidence, date) == ("cluster", "2026-11-25")
    assert source == (
        "explored: tensorflow 2.16.2, horovod 0.28.1+mlr.1 on 6.0-ml, 2 checks on 2 workers,"
        f" image sha256:{'a' * 64}, runtimes/6.0-ml/evidence/combinations/tf-2.16.2.json"
    )
    assert found["horovod-tensorflow-2.15"][0] == "built"
    assert "validate failed (checks failed)" in found["horovod-tensorflow-2.15"][2]
    assert found["horovod-tensorflow"][2] == "https://example.org/", "whose sentence no run proves"


@pytest.mark.parametrize("level", [None, "resolved", "locked"])
def test_what_was_not_built_proves_nothing(matrix: Matrix, level: str | None) -> None:
    found = rules_after(matrix, tried("2.16.2", "0.28.1+mlr.1", level))
    assert found["horovod-tensorflow-2.16"][0] == "documented"
    assert found["horovod-tensorflow-2.15"][2] == "explored: not yet"


@given(st.permutations([("built", "25"), ("cluster", "24"), ("cluster", "26"), ("locked", "27")]))
def test_the_best_counts_then_the_latest(order: list[tuple[str, str]]) -> None:
    matrix = PARSED
    records = [tried("2.16.2", "0.28.1+mlr.1", level, f"2026-11-{day}") for level, day in order]
    assert rules_after(matrix, *records)["horovod-tensorflow-2.16"][:2] == ("cluster", "2026-11-26")


def test_a_combination_whose_rule_was_ignored_says_nothing_about_it(matrix: Matrix) -> None:
    found = rules_after(matrix, tried("2.16.2", "0.28.0", "cluster"))
    assert found["horovod-tensorflow-2.16"][2] == "explored: not yet"


def test_nothing_but_those_lines_changes(matrix: Matrix) -> None:
    records = [tried("2.16.2", "0.28.1+mlr.1", "cluster")]
    text = with_findings(MATRIX, findings(matrix, records))
    old, new = MATRIX.splitlines(), text.splitlines()
    changed = [b.split(":")[0].strip() for a, b in zip(old, new, strict=True) if a != b]
    assert changed == ["evidence", "source", "date"]
    assert with_findings(text, findings(parse_matrix(text, file="x"), records)) == text


def test_what_is_kept_names_no_path_of_this_host() -> None:
    record = tried("2.15.1", "0.28.1", "built")
    kept = evidence_json(record, {"checks": []})
    assert "/a/b.log" not in json.dumps(kept)
    assert parse_record(json.dumps(kept), file="x").failure == replace(record.failure, log=None)  # type: ignore[type-var]
    assert is_evidence(record)
    assert not is_evidence(at("locked"))
    assert not is_evidence(tried("2.15.1", "0.28.1", None))


GOLDEN = Path(__file__).parents[2] / "golden" / "exploring" / "evidence.md"


def test_the_table_of_evidence() -> None:
    records = [
        tried("2.15.1", "0.28.1", "cluster"),
        tried("2.14.1", "0.28.1", "cluster", omitted=("spark",)),
        tried("2.16.1", "0.28.1+mlr.1", "built"),
        tried("2.16.2", "0.28.1", "locked"),
        tried("2.17.0rc1", "0.28.0", "resolved"),
    ]
    text = evidence_page(records) + "\n"
    if os.environ.get("MLRUNTIME_GOLDEN") == "write":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
    assert evidence_page(list(reversed(records))) + "\n" == text


@pytest.mark.parametrize(
    "page",
    [
        "a\n<!-- evidence -->\nold\nmore that a person wrote\n",
        "a\n<!-- /evidence -->\n<!-- evidence -->\nmore\n",
        "a\n",
        "<!-- evidence --><!-- /evidence -->\n<!-- evidence --><!-- /evidence -->\n",
    ],
)
def test_a_page_whose_markers_are_not_clear_is_left_alone(tmp_path: Path, page: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "matrix.yaml").write_text(MATRIX, encoding="utf-8")
    path = tmp_path / "docs" / "evidence.md"
    path.write_text(page, encoding="utf-8")
    nothing = SweepResult(records=(), left=(), why=None)
    state = StateFolder(tmp_path / "state")
    with pytest.raises(InvalidDefinition, match="are not there once each, in this order"):
        write_evidence(Definitions(tmp_path), state, nothing)
    assert path.read_text(encoding="utf-8") == page

    path.write_text("a\n<!-- evidence -->\nold\n<!-- /evidence -->\nmore\n", encoding="utf-8")
    assert write_evidence(Definitions(tmp_path), state, nothing) == ("docs/evidence.md",)
    kept = path.read_text(encoding="utf-8")
    assert kept.startswith("a\n<!-- evidence -->\n")
    assert kept.endswith("\n<!-- /evidence -->\nmore\n")
    assert "old" not in kept
