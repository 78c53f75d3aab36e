"""``matrix outdated``: against a registry on this machine, and its parts."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.cli import main
from mlruntime.ecosystems.debian import ecosystem
from mlruntime.ecosystems.debian.upstream import DebianUpstream
from mlruntime.errors import InvalidDefinition, MlruntimeError, Unavailable
from mlruntime.matrix.editing import with_releases, with_rule, with_rule_added
from mlruntime.matrix.model import Component
from mlruntime.matrix.news import (
    ComponentOffers,
    Offer,
    Release,
    alternatives,
    news_of,
    pythons_of,
    since,
)
from mlruntime.matrix.parsing import parse_matrix
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[3]
OURS = (ROOT / "matrix.yaml").read_text(encoding="utf-8")
BEFORE = parse_matrix(OURS, file="matrix.yaml")
MATRIX = """\
# A comment that stays.
components:
  debian: {title: Debian, summary: x, releases: ["12", "13"]}
  python:
    title: Python
    summary: x
    artifacts: [{origin: debian, name: "python{python.minor}"}]
    releases: ["3.11", "3.13"]
  scala: {title: Scala, summary: x, releases: ["2.12", "2.13"]}
  tensorflow:  # both halves
    title: TensorFlow
    summary: x
    artifacts:
      - {origin: pypi, name: tensorflow-cpu, variants: [cpu]}
      - {origin: pypi, name: tensorflow, variants: [gpu]}
    releases:
      ["2.15.0", "2.15.1", "2.16.1"]
  tf-keras:
    title: tf-keras
    summary: x
    artifacts: [{origin: pypi, name: tf_keras}]
    releases: ["2.16.0"]
  graphframes:
    title: GraphFrames
    summary: x
    artifacts: [{origin: maven, name: "io.g:gf_{scala.minor}"}]
    releases: ["0.9"]
preference: [tensorflow, tf-keras, graphframes, python, scala, debian]

rules:
  - id: tensorflow-2.15-python
    says: TensorFlow 2.15 is for Python 3.11.
    when: {tensorflow: "<2.16"}
    requires: {python: "==3.11"}
    evidence: documented
    source: pkg:pypi/tensorflow@2.15.1
    date: 2026-11-20

  # --- others
  - id: tf-keras-tensorflow
    says: tf-keras is for the TensorFlow of its minor.
    when: {tf-keras: "*"}
    requires: {tensorflow: "=={tf-keras.minor}.*"}
    evidence: documented
    source: pkg:pypi/tf-keras@2.16.0
    date: 2026-11-20
"""


# the registry


@dataclass
class Served:
    """What the server has, by path; a number is a refusal."""

    url: str = ""
    pages: dict[str, str | int] = field(default_factory=dict)

    def project(self, name: str, *files: str, yanked: str = "", requires: str = ">=3.9") -> None:
        listed = [
            {
                "filename": file,
                "url": f"/files/{file}",
                "hashes": {},
                "requires-python": requires,
                "yanked": file == yanked,
            }
            for file in files
        ]
        page = {"meta": {"api-version": "1.0"}, "name": name, "files": listed}
        self.pages[f"/simple/{name}/"] = json.dumps(page)

    def jars(self, name: str, *versions: str) -> None:
        listed = "".join(f"<version>{version}</version>" for version in versions)
        self.pages[f"/maven/io/g/{name}/maven-metadata.xml"] = (
            f"<metadata><versioning><versions>{listed}</versions></versioning></metadata>"
        )


def wheels(name: str, version: str, *tags: str) -> list[str]:
    platform = "manylinux_2_17_x86_64"
    return [f"{name}-{version}-{tag}-{tag}-{platform}.whl" for tag in tags]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    state = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = state.pages.get(self.path, 404)
            content = found.encode() if isinstance(found, str) else b""
            self.send_response(200 if isinstance(found, str) else found)
            self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{state.url}/simple")
    monkeypatch.setenv("UV_INDEX", "")
    monkeypatch.setenv("UV_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("MLRUNTIME_MAVEN_REPOSITORY", f"{state.url}/maven")
    monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(ecosystem, "DebianUpstream", partial(DebianUpstream, archive=Debian))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Debian:
    """Stands for apt: what each release has."""

    packages: ClassVar[dict[str, tuple[str, ...] | str]] = {}

    def __init__(self, sources: object, release: str, root: Path) -> None:
        assert root.is_dir()
        found = self.packages.get(release, ())
        if isinstance(found, str):
            raise Unavailable(found)
        self.names = frozenset(found)


@pytest.fixture
def up_to_date(served: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """Registries that have what the matrix has."""
    monkeypatch.setattr(
        Debian, "packages", {"12": ("python3.11", "python3"), "13": ("python3.13", "python3.13-x")}
    )
    for name in ("tensorflow", "tensorflow_cpu"):
        tags = [*wheels(name, "2.15.1", "cp311"), *wheels(name, "2.16.1", "cp311", "cp313")]
        served.project(name.replace("_", "-"), *tags)
    served.project("tf-keras", "tf_keras-2.16.0-py3-none-any.whl")
    served.jars("gf_2.12", "0.9", "0.9-SNAPSHOT")
    return served


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/matrix.yaml").write_text(MATRIX, encoding="utf-8")
    return tmp_path / "own"


def outdated(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["--root", str(root), "matrix", "outdated", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def found(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict]:  # type: ignore[type-arg]
    code, out, _ = outdated(root, capsys, "--json", *words)
    assert code == 0
    result = json.loads(out)
    return {news["component"]: news for news in result["components"]} | {"": result}


@pytest.mark.usefixtures("up_to_date")
def test_nothing_new(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = outdated(root, capsys)
    assert (code, err) == (0, "")
    assert "No change to matrix.yaml to propose." in out
    assert "scala" not in out, "it has no artifacts"
    result = found(root, capsys, "--write")
    assert result[""]["written"] is False
    assert (root / "matrix.yaml").read_text(encoding="utf-8") == MATRIX


def add_news(served: Served) -> None:
    new = [
        *wheels("tensorflow", "2.16.2", "cp311", "cp313"),
        *wheels("tensorflow", "2.17.0", "cp311"),
    ]
    served.project("tensorflow", *new, *wheels("tensorflow", "2.18.0", "cp313"))
    cpu = [file.replace("tensorflow", "tensorflow_cpu") for file in new]
    served.project("tensorflow-cpu", *cpu)
    served.jars("gf_2.13", "0.9", "0.10", "0.11-rc1", "1.0-SNAPSHOT")


def test_new_releases_are_a_patch_that_is_not_applied(
    root: Path, up_to_date: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    add_news(up_to_date)
    result = found(root, capsys)
    assert result["tensorflow"]["added"] == ["2.16.2", "2.17.0"]
    assert result["tensorflow"]["left_out"] == [
        {"version": "2.18.0", "why": "not there: pypi:tensorflow-cpu"}
    ]
    assert result["graphframes"]["added"] == ["0.10"]
    assert result[""]["rules"] == ["tensorflow-2.17.0-python"]
    assert (root / "matrix.yaml").read_text(encoding="utf-8") == MATRIX
    code, out, err = outdated(root, capsys)
    assert (code, err) == (0, "")
    assert "(`--write` applies it)" in out
    assert '+      ["2.15.0", "2.15.1", "2.16.1", "2.16.2", "2.17.0"]' not in out
    assert '+    releases: ["2.15.0", "2.15.1", "2.16.1", "2.16.2", "2.17.0"]' in out


@pytest.mark.starts
def test_the_patch_applies_and_gives_what_write_writes(
    root: Path, up_to_date: Served, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    add_news(up_to_date)
    patch = found(root, capsys)[""]["patch"]
    other = tmp_path / "other"
    shutil.copytree(root, other)
    subprocess.run(["git", "apply", "-p1"], input=patch, text=True, cwd=other, check=True)
    assert found(root, capsys, "--write")[""]["written"] is True
    text = (root / "matrix.yaml").read_text(encoding="utf-8")
    assert (other / "matrix.yaml").read_text(encoding="utf-8") == text
    matrix = parse_matrix(text, file="matrix.yaml")
    rule = matrix.rules_by_id["tensorflow-2.17.0-python"]
    assert (rule.evidence, rule.source) == ("documented", "pkg:pypi/tensorflow-cpu@2.17.0")
    assert rule.requires[0].alternatives == ("==3.11.*",)
    assert rule.index == 1, "beside the other rules about TensorFlow"
    for line in ("# A comment that stays.", "tensorflow:  # both halves", "# --- others"):
        assert line in text
    assert main(["--root", str(root), "matrix", "check"]) == 0
    capsys.readouterr()
    assert found(root, capsys)[""]["patch"] == "", "once written there is nothing left to propose"


def test_yanked_files_and_prereleases_are_left_out(
    root: Path, up_to_date: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["tf_keras-2.16.0-py3-none-any.whl", "tf_keras-2.17.0-py3-none-any.whl"]
    up_to_date.project("tf-keras", *files, "tf_keras-2.18.0rc1.tar.gz", yanked=files[1])
    assert found(root, capsys)["tf-keras"]["added"] == []


def test_a_release_that_no_combination_can_have_is_left_out(
    root: Path, up_to_date: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    up_to_date.project("tf-keras", "tf_keras-2.16.1.tar.gz", "tf_keras-2.17.0.tar.gz")
    news = found(root, capsys)["tf-keras"]
    assert news["added"] == ["2.16.1"]
    assert news["left_out"][0]["version"] == "2.17.0"
    assert "tf-keras is for the TensorFlow of its minor" in news["left_out"][0]["why"]


def test_a_registry_that_fails_is_told_per_component(
    root: Path,
    up_to_date: Served,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mlruntime.fetch.web.time.sleep", lambda _: None)
    up_to_date.pages["/simple/tensorflow/"] = 403
    del up_to_date.pages["/maven/io/g/gf_2.12/maven-metadata.xml"]
    monkeypatch.setattr(Debian, "packages", {"12": "cannot be read", "13": ("python3.14",)})
    result = found(root, capsys)
    assert result["tensorflow"]["error"] is not None
    assert "has no list of releases of io.g:gf_{scala.minor}" in result["graphframes"]["error"]
    assert result["python"]["added"] == ["3.14"], "one Debian release answered"
    assert result["tf-keras"]["error"] is None
    _, out, _ = outdated(root, capsys)
    assert "Could not be reached:\n  tensorflow: " in out


def test_exit_6_when_nothing_could_be_asked(
    root: Path,
    served: Served,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Debian, "packages", {"12": "no archive", "13": "no archive"})
    code, out, err = outdated(root, capsys)
    assert (code, out) == (6, "")
    assert "no registry could be reached" in err
    assert "python: no archive" in err
    code, out, _ = outdated(root, capsys, "--json")
    assert code == 6
    assert json.loads(out)["patch"] == ""


# which releases are new


def component(*known: str) -> Component:
    return Component(
        name="x",
        title="x",
        summary="x",
        artifacts=(),
        releases=tuple(sorted(map(Version, known), reverse=True)),
        on_request=False,
        part_of=None,
    )


@pytest.mark.parametrize(
    ("known", "offered", "new"),
    [
        (["3.5.1", "4.0.0"], ["3.5.0", "3.5.2", "3.6.0", "4.0.0", "5.0"], "3.5.2 3.6.0 5.0"),
        (["16.1.0", "17.0.0"], ["15.0.0", "16.0.0", "16.2.0", "18.0.0rc1"], "16.2.0"),
        (["1.0"], ["0.9", "1.0.post1"], "1.0.post1"),
    ],
)  # fmt: skip
def test_since(known: list[str], offered: list[str], new: str) -> None:
    assert " ".join(map(str, since(component(*known), map(Version, offered)))) == new


VERSIONS = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)).map(
    lambda parts: Version(".".join(map(str, parts)))
)


@given(st.sets(VERSIONS, min_size=1), st.sets(VERSIONS))
def test_since_is_new_and_once_known_no_more(known: set[Version], offered: set[Version]) -> None:
    new = since(component(*map(str, known)), offered)
    assert not set(new) & known
    assert list(new) == sorted(new)
    assert {v for v in offered if v > max(known)} <= set(new)
    assert since(component(*map(str, known | set(new))), offered) == ()


def test_names_of_templates() -> None:
    names = alternatives("io.g:gf-spark{spark.major}_{scala.minor}", BEFORE)
    scala = ("2.11", "2.12", "2.13")
    assert sorted(names) == [f"io.g:gf-spark{n}_{s}" for n in ("2", "3", "4") for s in scala]


@pytest.mark.parametrize(
    ("requires", "pythons", "fitting"),
    [
        (">=3.11", None, "3.11 3.12"),
        (">=3.9.2", None, "3.9 3.11 3.12"),
        (None, frozenset({"3.9"}), "3.9"),
        (">=3.12", frozenset({"3.11", "3.12"}), "3.12"),
    ],
)
def test_pythons(requires: str | None, pythons: frozenset[str] | None, fitting: str) -> None:
    release = Release(version=Version("1"), requires_python=requires, pythons=pythons)
    known = map(Version, ("3.12", "3.9", "3.11"))
    assert " ".join(map(str, pythons_of(release, known))) == fitting


# the text of the matrix


def test_every_list_of_releases_of_ours_can_be_edited() -> None:
    text = OURS
    for name, part in BEFORE.components.items():
        if part.part_of:
            with pytest.raises(InvalidDefinition, match="cannot be edited"):
                with_releases(text, name, ["999"])
            continue
        same = with_releases(text, name, [part.spell(part.newest)])
        assert same.split() == text.split(), "what is there is not added, wrapped anew at most"
        text = with_releases(text, name, ["999"])
    after = parse_matrix(text, file="matrix.yaml")
    for name, part in BEFORE.components.items():
        assert after.components[name].releases == (Version("999"), *part.releases)
        assert after.components[name].artifacts == part.artifacts
    assert text.partition("rules:\n")[2] == OURS.partition("rules:\n")[2]
    assert [line for line in text.splitlines() if "#" in line] == [
        line for line in OURS.splitlines() if "#" in line
    ]


def test_a_list_in_another_form_is_refused() -> None:
    for text in (
        'components:\n  x:\n    releases:\n      - "1"\n',
        'components:\n  x: {releases: ["1"]}\n',
        'components:\n  x:\n    releases: ["1",  # old\n      "2"]\n',
        'components:\n  x:\n    title: x\n  y:\n    releases: ["1"]\n',
    ):
        with pytest.raises(InvalidDefinition, match="releases of x cannot be edited"):
            with_releases(text, "x", ["3"])


VALUES = {"evidence": "cluster", "source": 'explored: a "b" # c', "date": "2026-12-01"}


def test_every_rule_of_ours_can_be_edited() -> None:
    text = OURS
    for rule in BEFORE.rules:
        text = with_rule(text, rule.id, VALUES)
    after = parse_matrix(text, file="matrix.yaml")
    for old, new in zip(BEFORE.rules, after.rules, strict=True):
        assert (new.evidence, new.source, new.date) == tuple(VALUES.values())
        assert (new.id, new.says, new.when, new.requires) == (
            old.id,
            old.says,
            old.when,
            old.requires,
        )


def test_a_rule_in_another_form_is_refused() -> None:
    folded = MATRIX.replace("source: pkg:pypi/tf-keras@2.16.0", "source: >-\n      pkg:x")
    for text, ident in ((MATRIX, "nothing"), (folded, "tf-keras-tensorflow")):
        with pytest.raises(InvalidDefinition, match="cannot be edited"):
            with_rule(text, ident, VALUES)


def test_a_comment_behind_a_value_stays() -> None:
    text = MATRIX.replace("date: 2026-11-20", "date: 2026-11-20  # by hand", 1)
    changed = with_rule(text, "tensorflow-2.15-python", VALUES)
    assert "    date: 2026-12-01  # by hand\n" in changed


RULE = {
    "id": "x-1",
    "says": "x",
    "when": '{tensorflow: "==2.16.1"}',
    "requires": '{python: "*"}',
    "evidence": "documented",
    "source": "pkg:x",
    "date": "2026-12-01",
}


@pytest.mark.parametrize(("name", "index"), [("tensorflow", 1), ("tf-keras", 2), ("scala", 2)])
def test_a_rule_is_added_beside_its_like(name: str, index: int) -> None:
    rules = parse_matrix(with_rule_added(MATRIX, name, RULE), file="x").rules
    assert [rule.id for rule in rules].index("x-1") == index
    assert len(rules) == 3


def test_the_first_rule_of_all() -> None:
    text = MATRIX.partition("rules:\n")[0] + "rules: []\n"
    assert parse_matrix(with_rule_added(text, "scala", RULE), file="x").rules[0].id == "x-1"
    with pytest.raises(MlruntimeError, match="no rule can be added"):
        with_rule_added("rules: [{}]\n", "scala", RULE)


def test_an_artifact_of_some_releases_is_asked_about_no_others() -> None:
    """A jar that was called otherwise before is not missed of old releases, nor found in new."""
    component = replace(BEFORE.components["delta"], releases=(Version("3.3.3"),))

    def offer(what: str, of: str, *versions: str) -> Offer:
        found = tuple(Release(version=Version(version)) for version in versions)
        return Offer(what=what, releases=found, of=SpecifierSet(of))

    old = offer("maven:old", "<4.1", "3.3.3", "3.3.4", "4.1.0", "4.2.0")
    new = offer("maven:new", ">=4.1", "4.1.0")
    news = news_of(component, ComponentOffers(component="delta", offers=(old, new)))
    assert news.added == (Version("3.3.4"), Version("4.1.0"))
    both = offer("pypi:both", "", "3.3.4", "4.2.0")
    news = news_of(component, ComponentOffers(component="delta", offers=(old, new, both)))
    assert news.added == (Version("3.3.4"),)
    assert dict(news.left_out)[Version("4.1.0")] == "not there: pypi:both"
    assert dict(news.left_out)[Version("4.2.0")] == "not there: maven:new"
