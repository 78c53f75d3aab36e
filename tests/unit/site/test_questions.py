"""What goes with what, against an independent, exhaustive reading of small matrices."""

from hypothesis import given
from hypothesis import strategies as st
from mlruntime.matrix.questions import Asker, releases_of
from mlruntime.site.questions import choices, question_data
from mlruntime.workflows.inputs import read_matrix

from tests.documents import DEFINITIONS
from tests.unit.matrices import GeneratedMatrix, generated_matrices


def fitting(
    found: GeneratedMatrix, request: dict[str, tuple[str, ...]]
) -> dict[str, set[str]] | None:
    solutions = list(found.solutions(request, found.rules))
    if not solutions:
        return None
    return {n: {s[n] for s in solutions if s[n] is not None} for n in found.releases}


def spelled(asker: Asker, answer: dict[str, int] | None) -> dict[str, set[str]] | None:
    components = asker.matrix.components
    return answer and {
        name: {str(r) for r in releases_of(components[name], mask)} for name, mask in answer.items()
    }


@given(generated_matrices())
def test_an_answer_has_what_some_combination_has_and_nothing_else(found: GeneratedMatrix) -> None:
    asker = Asker(found.matrix())
    components = asker.matrix.components
    question = {
        name: sum(1 << i for i, r in enumerate(components[name].releases) if str(r) in wanted)
        for name, wanted in found.request.items()
    }
    assert spelled(asker, asker.together(question)) == fitting(found, dict(found.request))


@given(generated_matrices(), st.booleans())
def test_answers_about_each_release_are_those_of_asking_for_it(
    found: GeneratedMatrix, twice: bool
) -> None:
    asker = Asker(found.matrix())
    for name in [*found.releases, *(found.releases if twice else ())]:
        component = asker.matrix.components[name]
        told = {}
        for mask, answer in asker.answers(component):
            for release in releases_of(component, mask):
                told[str(release)] = spelled(asker, answer)
        for release in found.releases[name]:
            expected = fitting(found, {name: (release,)})
            if expected is None:
                assert release not in told
            else:
                expected.pop(name)
                assert told[release] == expected


def test_a_release_that_others_build_on_is_told_apart_from_them() -> None:
    """``==0.28.1`` of PEP 440 also means 0.28.1+mlr.1, and only that one goes with 2.21."""
    asker = Asker(read_matrix(DEFINITIONS))
    components = asker.matrix.components
    newest = 1 << [str(r) for r in components["tensorflow"].releases].index("2.21.0")
    found = asker.together({"tensorflow": newest})
    assert found is not None
    fit = {str(r) for r in releases_of(components["horovod"], found["horovod"])}
    assert "0.28.1+mlr.1" in fit and "0.28.1" not in fit


def test_a_choice_is_a_minor_or_a_release() -> None:
    matrix = read_matrix(DEFINITIONS)
    component = matrix.components["tensorflow"]
    known = dict(choices(component))
    assert [str(r) for r in releases_of(component, known["2.15"])] == [
        "2.15.1", "2.15.0.post1", "2.15.0",
    ]  # fmt: skip
    assert [str(r) for r in releases_of(component, known["2.15.0"])] == ["2.15.0"]
    assert "2.21" not in known or len(releases_of(component, known["2.21"])) > 1
    driver = matrix.components["driver"]
    assert set(map(driver.spell, driver.releases)) <= dict(choices(driver)).keys()


def test_the_browser_gets_the_solver_s_clauses() -> None:
    asker = Asker(read_matrix(DEFINITIONS))
    data = question_data(asker, {"x": {"tensorflow": "2.15.1", "nobody": "1", "spark": "0.1"}})
    names = [one["name"] for one in data["components"]]
    assert names == list(asker.matrix.preference)
    got = [
        (owner, tuple((at, int(mask, 16)) for at, mask in literals))
        for owner, literals in data["clauses"]
    ]
    assert got == [(clause.owner, clause.literals) for clause in asker.encoding.problem.clauses]
    assert [name for name, _ in data["runtimes"][0][1]] == ["tensorflow"]
