"""Reading the matrix: what is refused, where, and with which advice."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from mlruntime.documents.tables import (
    markdown,
    plain,
)
from mlruntime.errors import InvalidDefinition
from mlruntime.matrix.model import EXPLORED
from mlruntime.matrix.parsing import MEASURED, Matrix, parse_matrix, release_order
from mlruntime.matrix.soundness import contradictions
from mlruntime.matrix.tables import (
    component_list,
    overview,
    release_list,
)
from packaging.version import Version

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "matrix"

SMALL: dict[str, Any] = {
    "components": {
        "engine": {
            "title": "Engine",
            "summary": "runs things",
            "releases": ["1.0", "1.1", "2.0", "3.0rc1"],
            "artifacts": [
                {"origin": "maven", "name": "g:engine_{lang.minor}", "variants": ["cpu"]}
            ],
        },
        "lang": {"title": "Lang", "summary": "what it is written in", "releases": ["2.12", "2.13"]},
        "driver": {
            "title": "Driver",
            "summary": "of the host",
            "releases": ["450.80.02", "580.65.06"],
            "on-request": True,
        },
        "part": {"title": "Part", "summary": "inside the engine", "part-of": "engine"},
    },
    "preference": ["engine", "part", "lang", "driver"],
    "rules": [
        {
            "id": "engine-1-lang",
            "says": "Engine 1 is written in Lang 2.12.",
            "when": {"engine": "==1.*"},
            "requires": {"lang": "==2.12"},
            "evidence": "documented",
            "source": "https://example.org/engine",
            "date": "2026-11-22",
        },
        {
            "id": "engine-2-driver",
            "says": "Engine 2 does not go with Driver 450.",
            "when": {"engine": ">=2"},
            "conflicts": {"driver": "==450.*"},
            "evidence": "single-node",
            "source": "measured: it crashed",
            "date": "2026-11-22",
        },
        {
            "id": "part-engine",
            "says": "Part is Engine's.",
            "when": {"part": "*"},
            "requires": {"engine": "=={part}"},
            "evidence": "documented",
            "source": "https://example.org/part",
            "date": "2026-11-22",
        },
    ],
}


def read(document: dict[str, Any]) -> Matrix:
    return parse_matrix(json.dumps(document), file="matrix.yaml")


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """Return SMALL with the value at ``path`` replaced, or removed when ``to`` is ``...``."""
    document = deepcopy(SMALL)
    spot = document
    for step in path[:-1]:
        spot = spot[step]
    if to is ...:
        del spot[path[-1]]
    else:
        spot[path[-1]] = to
    return document


def rule(*path: Any, to: Any, index: int = 0) -> dict[str, Any]:
    return changed("rules", index, *path, to=to)


def test_releases_are_in_order_of_preference() -> None:
    assert [str(v) for v in read(SMALL).components["engine"].releases] == [
        "2.0", "1.1", "1.0", "3.0rc1",
    ]  # fmt: skip
    assert release_order([Version("1"), Version("2a1")]) == (Version("1"), Version("2a1"))


def test_a_part_has_the_releases_of_the_whole() -> None:
    components = read(SMALL).components
    assert components["part"].releases == components["engine"].releases


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (rule("requirs", to={}), r"rules\[0\].requirs: unknown key 'requirs'\n.*mean 'requires'\?"),
        (rule("source", to=...), r"rules\[0\]: missing key 'source'"),
        (rule("date", to=...), r"rules\[0\]: missing key 'date'"),
        (rule("evidence", to=...), r"rules\[0\]: missing key 'evidence'"),
        (rule("source", to="somebody said so"), r"rules\[0\].source: .* is not a source"),
        (rule("source", to="measured:"), r"rules\[0\].source: .* is not a source"),
        (rule("date", to="yesterday"), r"rules\[0\].date: 'yesterday' is not a date"),
        (rule("date", to="2026-13-01"), r"rules\[0\].date: '2026-13-01' is not a date"),
        (rule("evidence", to="build"), r"rules\[0\].evidence: .*\n.*did you mean 'built'\?"),
        (rule("id", to="Not An Id"), r"rules\[0\].id: .* is not a rule id"),
        (rule("id", index=1, to="engine-1-lang"), r"rules\[1\].id: .* twice\n.*rules\[0\] has it"),
        (rule("when", to={}), r"rules\[0\].when: expected at least one, found none"),
        (rule("when", "engin", to="*"), r"rules\[0\].when.engin: unknown .*\n.*mean 'engine'\?"),
        (rule("when", "engine", to="==9.*"), r"rules\[0\].when.engine: ==9.\* matches no release"),
        (rule("requires", "lang", to="==3"), r"rules\[0\].requires.lang: ==3 matches no release"),
        (rule("requires", "lang", to="2..1"), r"requires.lang: '2..1' is not a version specifier"),
        (rule("requires", "lang", to=[]), r"requires.lang: expected at least one, found none"),
        (rule("requires", to=...), r"rules\[0\]: a rule needs 'requires' or 'conflicts'"),
        (rule("requires", "lang", to="=={part}"), r"requires.lang: \{part\} is not in 'when'"),
        (rule("requires", "engine", index=2, to="==9.{part}"), r"requires.engine: .*no release"),
        (
            changed("preference", to=["engine"]),
            r"preference: components missing from `preference`.*lang",
        ),
        (changed("preference", 1, to="engine"), r"preference\[1\]: 'engine' is listed twice"),
        (changed("preference", 1, to="prt"), r"preference\[1\]: unknown .*\n.*mean 'part'\?"),
        (
            changed("components", "lang", "releases", to=[]),
            r"components.lang.releases: expected at least one, found none",
        ),
        (changed("components", "lang", "releases", to=["x"]), r"lang.releases\[0\]: 'x' is not a"),
        (changed("components", "lang", "releases", to=["1", "1.0"]), r"releases\[1\]: .* twice"),
        (changed("components", "lang", "releases", to=...), r"either 'releases' or 'part-of'"),
        (changed("components", "part", "part-of", to="engin"), r"part-of: .*\n.*mean 'engine'\?"),
        (changed("components", "Lang", to={}), r"components.Lang: 'Lang' is not a component name"),
        (
            changed("components", "engine", "artifacts", 0, "origin", to="npm"),
            r"components.engine.artifacts\[0\].origin: unknown value 'npm'",
        ),
        (
            changed("components", "engine", "artifacts", 0, "name", to="e_{lng.minor}"),
            r"artifacts\[0\].name: unknown component 'lng'.*\n.*mean 'lang'\?",
        ),
        (
            changed("components", "engine", "artifacts", 0, "provides", to=["other"]),
            r"artifacts\[0\].provides: only a package of PyPI, named in full",
        ),
        (
            changed("components", "engine", "artifacts", 0, "name", to="e_{lang.patch}"),
            r"artifacts\[0\].name: .* an unknown placeholder",
        ),
        (
            changed(
                "components",
                "engine",
                "artifacts",
                0,
                to={"origin": "pypi", "name": "e", "excludes": ["a:b"]},
            ),
            r"artifacts\[0\].excludes: only a jar can leave out",
        ),
        (
            changed("components", "engine", "artifacts", 0, "excludes", to=["a"]),
            r"artifacts\[0\].excludes\[0\]: 'a' is not which dependencies",
        ),
        (
            changed("components", "engine", "artifacts", 0, "releases", to="newest"),
            r"artifacts\[0\].releases: 'newest' is not a version specifier",
        ),
        (
            changed("components", "engine", "artifacts", 0, "releases", to=">=99"),
            r"artifacts\[0\].releases: no release of engine is >=99",
        ),
        (
            changed("components", "engine", "artifacts", 0, "releases", to="<2"),
            r"artifacts: release 2.0 has no artifact: nothing of it would be installed",
        ),
        (changed("rule", to=[]), r"rule: unknown key 'rule'\n.*did you mean 'rules'\?"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_its_place(
    document: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidDefinition) as failure:
        read(document)
    assert failure.match("^matrix.yaml: ")
    assert failure.match(message)


def test_rules_that_make_releases_unusable_are_named_with_their_place() -> None:
    document = deepcopy(SMALL)
    document["rules"].append(
        {
            "id": "engine-lang",
            "says": "Engine needs Lang 2.13.",
            "when": {"engine": "*"},
            "requires": {"lang": "==2.13"},
            "evidence": "documented",
            "source": "https://example.org/",
            "date": "2026-11-22",
        }
    )
    found = contradictions(read(document))
    assert {p.component for p in found} == {"engine", "part", "lang"} - {"lang"}
    engine = next(p for p in found if p.component == "engine")
    assert [str(r) for r in engine.releases] == ["1.1", "1.0"]
    assert engine.where == "rules[0].requires.lang"
    assert [e.id for e in engine.rules] == ["engine-1-lang", "engine-lang"]
    assert engine.what == "no combination has engine 1.1, 1.0"


def test_a_version_that_fits_nothing_makes_only_that_release_unusable() -> None:
    document = deepcopy(SMALL)
    document["rules"][2]["requires"] = {"lang": "=={part.minor}"}
    document["components"]["lang"]["releases"] = ["1.1", "2.12"]
    found = contradictions(read(document))
    unusable = {str(r) for p in found if p.component == "part" for r in p.releases}
    assert unusable == {"1.0", "2.0", "3.0rc1"}


def test_the_matrix_of_this_repository_is_sound() -> None:
    matrix = parse_matrix((ROOT / "matrix.yaml").read_text(encoding="utf-8"), file="matrix.yaml")
    assert contradictions(matrix) == ()
    assert all(e.source.startswith(("https://", "pkg:", MEASURED, EXPLORED)) for e in matrix.rules)
    for name in ("tensorflow", "spark", "graphframes", "cuda", "cudnn", "nccl", "driver", "debian"):
        assert any(t.component == name for e in matrix.rules for t in (*e.when, *e.requires))


def golden(name: str, text: str) -> None:
    assert text + "\n" == (GOLDEN / name).read_text(encoding="utf-8")


def test_tables_for_reading() -> None:
    matrix = read(SMALL)
    golden("components.txt", plain(component_list(matrix)))
    golden("engine.txt", plain(release_list(matrix, "engine")))
    golden("engine.md", markdown(release_list(matrix, "engine")))


def test_the_overview_is_computed_from_the_facts() -> None:
    matrix = parse_matrix((ROOT / "matrix.yaml").read_text(encoding="utf-8"), file="matrix.yaml")
    tensorflow = overview(matrix)[0]
    row = next(r for r in tensorflow.rows if r[0].startswith("2.15"))
    cells = dict(zip(tensorflow.columns, row, strict=True))
    assert cells["keras"] == "2.15.0"
    assert cells["python"] == "3.9 to 3.11"
    assert cells["horovod"] == "0.28.0 to 0.28.1, 0.28.1+mlr.2 to 0.28.1+mlr.3"
    assert cells["cuda"] == "12.2"
