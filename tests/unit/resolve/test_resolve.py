"""The resolver against an exhaustive search, and on the real matrix."""

import json
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from mlruntime.definitions.runtime import parse_runtime
from mlruntime.errors import UsageError
from mlruntime.matrix.parsing import Matrix, parse_matrix
from mlruntime.resolve.resolution import NoSolution, named_artifacts, oldest_allowed, resolve
from mlruntime.resolve.wording import conflict_json, reason_text, resolution_json
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.properties import inputs
from tests.unit.matrices import GeneratedMatrix, generated_matrices

ROOT = Path(__file__).parents[3]


def outcome(given: GeneratedMatrix) -> dict[str, Version] | NoSolution:
    try:
        return dict(resolve(given.matrix(), given.specifiers()).versions)
    except NoSolution as failure:
        return failure


@inputs(2.5)
@given(generated_matrices())
def test_the_verdict_and_the_optimum_are_those_of_an_exhaustive_search(
    given: GeneratedMatrix,
) -> None:
    found = outcome(given)
    best = given.best()
    if best is None:
        assert isinstance(found, NoSolution)
    else:
        assert found == best


@inputs(2.5)
@given(generated_matrices())
def test_an_explanation_is_unsatisfiable_and_minimal(given: GeneratedMatrix) -> None:
    found = outcome(given)
    if not isinstance(found, NoSolution):
        return
    lines = {line.component: given.request[line.component] for line in found.conflict.lines}
    rules = tuple(given.rules[rule.index] for rule in found.conflict.rules)
    assert not given.solvable(lines, rules)
    for name in lines:
        assert given.solvable({n: w for n, w in lines.items() if n != name}, rules)
    for rule in rules:
        assert given.solvable(lines, tuple(r for r in rules if r is not rule))


@inputs(2.5)
@given(generated_matrices())
def test_the_changes_work_and_no_smaller_one_does(given: GeneratedMatrix) -> None:
    found = outcome(given)
    if not isinstance(found, NoSolution):
        return
    assert found.conflict.changes
    for change in found.conflict.changes:
        changed = dict(given.request)
        for replacement in change:
            del changed[replacement.line.component]
            if replacement.version is not None:
                changed[replacement.line.component] = (str(replacement.version),)
        assert given.solvable(changed, given.rules)
        for fewer in combinations(given.request, len(change) - 1):
            rest = {n: w for n, w in given.request.items() if n not in fewer}
            assert not given.solvable(rest, given.rules)


@inputs(1.5)
@given(generated_matrices())
def test_every_release_preferred_to_the_chosen_one_is_excluded_by_a_named_edge(
    given: GeneratedMatrix,
) -> None:
    try:
        resolution = resolve(given.matrix(), given.specifiers())
    except NoSolution:
        return
    chosen = dict.fromkeys(given.releases) | {n: str(v) for n, v in resolution.versions}
    for reason in resolution.reasons:
        bounds = [given.rules[rule.index] for rule in reason.bounded_by]
        releases = given.releases[reason.component]
        for better in releases[: releases.index(str(reason.version))]:
            if better in given.request.get(reason.component, releases):
                trial = {**chosen, reason.component: better}
                assert not all(given.holds(rule, trial) for rule in bounds)
        assert reason.requested is not None or reason.needed_by


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return parse_matrix((ROOT / "matrix.yaml").read_text(), file="matrix.yaml")


def request(*lines: str) -> list[tuple[str, SpecifierSet]]:
    pairs = (line.split(" ", 1) for line in lines)
    return [(name, SpecifierSet(specifier)) for name, specifier in pairs]


def test_what_a_release_needs_is_drawn_in_and_nothing_else(matrix: Matrix) -> None:
    found = resolve(matrix, request("spark ==3.5.9"))
    assert dict(found.versions) == {
        "spark": Version("3.5.9"),
        "python": Version("3.11"),
        "java": Version("21"),
        "scala": Version("2.12"),
    }
    scala = next(r for r in found.reasons if r.component == "scala")
    assert [rule.id for rule in scala.needed_by] == ["spark-3-scala"]
    assert reason_text(scala).startswith("needed by spark-3-scala; ")


def test_components_on_request_join_only_when_named(matrix: Matrix) -> None:
    assert resolve(matrix, request("tensorflow ==2.15.1")).version("cuda") is None
    found = resolve(matrix, request("tensorflow ==2.15.1", "cuda >=0", "driver >=0"))
    assert found.version("cuda") == Version("12.2")
    assert found.version("cudnn") is None
    assert found.version("driver") == Version("580.65.06")


def test_a_driver_too_old_for_the_image_is_explained(matrix: Matrix) -> None:
    with pytest.raises(NoSolution) as failure:
        resolve(matrix, request("tensorflow ==2.15.1", "cuda ==12.*", "driver ==520.61.05"))
    assert [rule.id for rule in failure.value.conflict.rules] == ["cuda-12-driver"]
    assert {line.component for line in failure.value.conflict.lines} == {"cuda", "driver"}


def test_names_of_artifacts_are_filled_in_from_the_resolution(matrix: Matrix) -> None:
    definition = parse_runtime((ROOT / "runtimes/6.0-ml/runtime.yaml").read_text(), file="r")
    found = resolve(matrix, definition.request)

    def names(origin: str, variant: str) -> set[tuple[str, str, str]]:
        artifacts = named_artifacts(matrix, found, origin, variant)
        return {(a.component, a.name, a.version) for a in artifacts}

    assert names("maven", "cpu") == {
        ("graphframes", "io.graphframes:graphframes-spark3_2.12", "0.12.2")
    }
    assert ("java", "openjdk-17-jre-headless", "17") in names("debian", "cpu")
    assert ("tensorflow", "tensorflow-cpu", "2.15.1") in names("pypi", "cpu")
    assert ("tensorflow", "tensorflow", "2.15.1") in names("pypi", "gpu")
    assert ("cudnn", "nvidia-cudnn-cu12", "8.9") in names("pypi", "gpu")
    assert not [n for n in names("pypi", "cpu") if n[1].startswith("nvidia-")]


def test_the_oldest_driver_that_will_do_follows_from_the_rules(matrix: Matrix) -> None:
    cuda_12 = resolve(matrix, request("tensorflow ==2.15.1", "cuda ==12.*"))
    assert oldest_allowed(matrix, cuda_12, "driver") == "525.60.13"
    cuda_11 = resolve(matrix, request("tensorflow ==2.14.1", "cuda ==11.*"))
    assert oldest_allowed(matrix, cuda_11, "driver") == "450.80.02"
    without = resolve(matrix, request("tensorflow ==2.15.1"))
    assert oldest_allowed(matrix, without, "driver") is None


def test_an_artifact_named_after_an_absent_component_is_an_error() -> None:
    document = {
        "components": {
            "jar": {
                "title": "Jar",
                "summary": "x",
                "releases": ["1"],
                "artifacts": [{"origin": "maven", "name": "g:jar_{scala.minor}"}],
            },
            "scala": {"title": "Scala", "summary": "x", "releases": ["2.12"]},
        },
        "preference": ["jar", "scala"],
        "rules": [],
    }
    matrix = parse_matrix(json.dumps(document), file="m")
    with pytest.raises(UsageError, match="the artifact of jar is named after scala: absent"):
        named_artifacts(matrix, resolve(matrix, request("jar ==1")), "maven", "cpu")


def test_a_misspelt_component_is_a_usage_error(matrix: Matrix) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'tensorflow'\?"):
        resolve(matrix, request("tensorlow ==2.15"))


def test_two_lines_about_one_component_both_count(matrix: Matrix) -> None:
    found = resolve(matrix, request("numpy >=1.24", "numpy <1.25"))
    assert found.version("numpy") == Version("1.24.4")


def test_a_version_that_does_not_exist_gets_its_nearest_neighbour(matrix: Matrix) -> None:
    with pytest.raises(NoSolution) as failure:
        resolve(matrix, request("tensorflow ==2.15.7", "horovod ===0.28.1"))
    conflict = failure.value.conflict
    assert (len(conflict.lines), conflict.rules) == (1, ())
    assert [str(r.version) for r in conflict.changes[0]] == ["2.15.1"]


def test_a_conflict_as_json_says_what_the_text_says(matrix: Matrix) -> None:
    with pytest.raises(NoSolution) as failure:
        resolve(matrix, request("tensorflow ==2.16.2", "horovod ===0.28.1"))
    data = conflict_json(failure.value.conflict)
    assert data["request"] == [
        {"component": "tensorflow", "specifier": "==2.16.2"},
        {"component": "horovod", "specifier": "===0.28.1"},
    ]
    assert [rule["id"] for rule in data["rules"]] == ["horovod-tensorflow"]
    assert data["changes"] == [
        [{"component": "horovod", "instead_of": "===0.28.1", "version": "0.28.1+mlr.1"}],
        [{"component": "tensorflow", "instead_of": "==2.16.2", "version": "2.15.1"}],
    ]


def test_a_resolution_as_json_has_the_reason_of_each_choice(matrix: Matrix) -> None:
    data = resolution_json(resolve(matrix, request("pyarrow >=15", "numpy <2")))
    assert data["versions"]["pyarrow"] == "25.0.1"
    pyarrow = next(c for c in data["components"] if c["component"] == "pyarrow")
    assert pyarrow["bounded_by"] == ["pyarrow-26-numpy"]
    assert pyarrow["requested"] == ">=15"


def test_a_part_is_not_what_rules_out_its_whole(matrix: Matrix) -> None:
    lines = request("spark ==4.*", "mllib >=0", "graphframes ==0.12.*")
    for reason in resolve(matrix, lines).reasons[:2]:
        assert reason.component in ("spark", "mllib")
        assert [rule.id for rule in reason.bounded_by] == ["graphframes-0.11-spark"]


def test_a_part_that_was_asked_for_may_be_what_rules_out_its_whole(matrix: Matrix) -> None:
    spark, mllib = resolve(matrix, request("spark ==4.*", "mllib ==4.1.*")).reasons[:2]
    assert [rule.id for rule in spark.bounded_by] == ["mllib-spark"]
    assert mllib.bounded_by == ()


def test_versions_are_spelled_as_the_matrix_spells_them(matrix: Matrix) -> None:
    """PEP 440 would have 580.65.6."""
    found = resolution_json(resolve(matrix, request("driver ==580.65.6")))
    assert found["versions"]["driver"] == "580.65.06"
    assert {c["component"]: c for c in found["components"]}["driver"]["newest"] == "580.65.06"
    with pytest.raises(NoSolution) as failure:
        resolve(matrix, request("driver ==580.65.7"))
    assert "driver==580.65.06 instead of driver==580.65.7" in str(failure.value)
    (change,) = conflict_json(failure.value.conflict)["changes"][0]
    assert change["version"] == "580.65.06"
