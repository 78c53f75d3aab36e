"""``mlruntime lock`` as it is called; the registries are replaced, everything else is real."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from mlruntime.cli import main
from mlruntime.ecosystems.maven.repository import LockedJars
from mlruntime.ecosystems.pypi.resolver import Static, Target
from mlruntime.errors import ArtifactNotFound
from mlruntime.lock.document import parse_lock
from mlruntime.lock.packages import Artifact
from mlruntime.locking import registries

MATRIX = """
components:
  debian: {title: Debian, summary: x, releases: ["12"]}
  python:
    title: Python
    summary: x
    releases: ["3.11"]
    artifacts: [{origin: debian, name: "python{python.minor}"}]
  spark:
    title: Spark
    summary: x
    releases: ["3.5.8"]
    artifacts: [{origin: pypi, name: pyspark}]
  graphframes:
    title: GraphFrames
    summary: x
    releases: ["0.11.0"]
    artifacts: [{origin: maven, name: "g:gf-spark{spark.major}"}]
preference: [spark, graphframes, python, debian]
rules: []
"""
RUNTIME = """
runtime: 0.1-ml
summary: x
snapshot: 2026-11-20T00:00:00Z
variants: [cpu]
request: {debian: "*", python: "*", spark: "==3.5.*", graphframes: "*"}
"""


def artifact(kind: str, name: str, version: str) -> Artifact:
    sha256 = f"{int.from_bytes(f'{name}{version}'.encode()):0>64x}"[-64:]
    return Artifact(
        kind=kind,
        name=name,
        version=version,
        filename=f"{name}.{kind}",
        size=7,
        sha256=sha256,
        origin=kind,
    )


class Archive:
    base = ("libc6",)

    def __init__(self, tini: str) -> None:
        self.tini = tini

    def has(self, name: str) -> bool:
        return True

    def closure(self, names: Iterable[str]) -> tuple[Artifact, ...]:
        versions = {"libc6": "2.36-9", "python3.11": "3.11.2-6", "tini": self.tini}
        return tuple(artifact("deb", name, version) for name, version in versions.items())


class Pypi:
    def compile(
        self,
        requirements: Iterable[str],
        *,
        constraints: Iterable[str] = (),
        static: Iterable[Static] = (),
    ) -> tuple[Artifact, ...]:
        built = {entry.name for entry in static}
        pairs = (requirement.split("==") for requirement in requirements)
        return tuple(artifact("sdist" if n in built else "wheel", n, v) for n, v in pairs)


class Maven:
    def __init__(self, full: bool) -> None:
        self.full = full

    def closure(
        self,
        wanted: Iterable[tuple[str, str]],
        shipped: object,
        scala: str = "",
        *,
        excluding: object,
    ) -> LockedJars:
        for name, version in wanted:
            if not self.full:
                raise ArtifactNotFound(
                    f"the Maven repository does not have {name}:{version}", hint="x"
                )
        return LockedJars(artifacts=tuple(artifact("jar", n, v) for n, v in wanted))


class World:
    """The registries as they are now; calling it stands for reaching them."""

    def __init__(self) -> None:
        self.tini, self.full, self.reached = "1", True, 0

    def __call__(self, **_: object) -> "World":
        self.reached += 1
        return self

    def archive(self, release: str) -> Archive:
        return Archive(self.tini)

    def compiler(self, target: Target, snapshot: str) -> Pypi:
        return Pypi()

    def repository(self) -> Maven:
        return Maven(self.full)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    world = World()
    monkeypatch.setattr(registries, "HostRegistries", world)
    monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "store"))
    return world


PATCHED = "patched: {3.5.8+a: {of: 3.5.8, patches: [a.patch]}}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "definitions"
    (root / "runtimes/0.1-ml").mkdir(parents=True)
    (root / "images/pyspark").mkdir(parents=True)
    (root / "matrix.yaml").write_text(MATRIX)
    (root / "runtimes/0.1-ml/runtime.yaml").write_text(RUNTIME)
    (root / "images/pyspark/recipe.yaml").write_text(f"name: pyspark\n{PATCHED}")
    (root / "images/pyspark/a.patch").write_text("a")
    return root


Lock = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lock(root: Path, world: World, capsys: pytest.CaptureFixture[str]) -> Lock:
    def call(*words: str) -> tuple[int, str, str]:
        code = main(["--root", str(root), "lock", "0.1-ml", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_it_writes_once_and_the_same_again(root: Path, lock: Lock) -> None:
    path = root / "runtimes/0.1-ml/lock.json"
    code, out, err = lock("--json")
    assert (code, json.loads(out)["written"]) == (0, True)
    assert "mlruntime: Debian: 3 packages" in err
    before, stat = path.read_bytes(), path.stat()
    code, out, _ = lock("--json")
    assert (code, json.loads(out)["written"]) == (0, False)
    assert (path.read_bytes(), path.stat().st_ino) == (before, stat.st_ino)
    assert [p.name for p in sorted(path.parent.iterdir())] == ["lock.json", "runtime.yaml"]


def test_the_result_counts_what_was_locked(root: Path, lock: Lock) -> None:
    result = json.loads(lock("--json")[1])
    read = parse_lock((root / "runtimes/0.1-ml/lock.json").read_text(), file="x")
    assert result["digest"] == read.digest
    assert result["components"]["spark"] == "3.5.8"
    assert result["artifacts"]["debian"] == {"count": 3, "size": 21}
    assert result["artifacts"]["sdists"] == {"count": 1, "size": 7}
    assert [n["name"] for n in result["native"]] == ["pyspark"]


def test_check_needs_no_registry_and_writes_nothing(root: Path, lock: Lock, world: World) -> None:
    lock()
    before = world.reached
    assert lock("--check")[:2] == (0, "runtimes/0.1-ml/lock.json is up to date\n")
    assert world.reached == before


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (
            "matrix.yaml",
            '["3.5.8"]',
            '["3.5.8", "3.5.9"]',
            ["spark 3.5.8 locked, 3.5.9 resolved"],
        ),
        (
            "runtimes/0.1-ml/runtime.yaml",
            "-20T",
            "-21T",
            ["what runtime.yaml and matrix.yaml ask for has changed since"],
        ),
        (
            "images/pyspark/a.patch",
            "a",
            "b",
            ["a recipe, patch or script under images/ has changed since"],
        ),
        (
            "images/pyspark/recipe.yaml",
            "3.5.8+a",
            "3.5.8+b",
            ["a recipe, patch or script under images/ has changed since"],
        ),
    ],
)
def test_check_says_what_is_stale(
    root: Path, lock: Lock, file: str, old: str, new: str, said: list[str]
) -> None:
    lock()
    (root / file).write_text((root / file).read_text().replace(old, new))
    before = (root / "runtimes/0.1-ml/lock.json").read_bytes()
    code, out, err = lock("--check", "--json")
    assert code == 4
    assert json.loads(out)["stale"] == said
    assert "the lock is stale" in err
    assert "mlruntime lock 0.1-ml" in err
    assert (root / "runtimes/0.1-ml/lock.json").read_bytes() == before


def test_what_the_registries_have_now_is_asked_only_on_request(lock: Lock, world: World) -> None:
    lock()
    world.tini = "2"
    assert lock("--check")[0] == 0
    code, out, _ = lock("--check", "--registry", "--json")
    assert code == 4
    stale = json.loads(out)["stale"]
    assert stale == ["os: tini 1 locked, 2 to be had"]
    assert lock("--registry")[0] == 2


def test_a_missing_jar_names_the_option_and_the_option_records_it(
    root: Path, lock: Lock, world: World
) -> None:
    world.full = False
    code, _, err = lock()
    assert code == 6
    assert "--omit-unavailable graphframes" in err
    assert not (root / "runtimes/0.1-ml/lock.json").exists()
    code, out, _ = lock("--omit-unavailable", "graphframes")
    assert code == 0
    assert "left out: graphframes, because the Maven repository does not have g:gf-spark3" in out
    assert lock("--check", "--registry")[0] == 0
    assert lock("--omit-unavailable", "graphfames")[0] == 2


def test_check_without_a_lock_and_an_unknown_runtime(root: Path, lock: Lock) -> None:
    code, _, err = lock("--check")
    assert code == 4
    assert "0.1-ml is not locked" in err
    assert main(["--root", str(root), "lock", "0.2-ml"]) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 7}'])
def test_a_broken_lock_is_said_by_check_and_mended_by_lock(
    root: Path, lock: Lock, text: str
) -> None:
    path = root / "runtimes/0.1-ml/lock.json"
    path.write_text(text)
    code, _, err = lock("--check")
    assert code == 4
    assert "runtimes/0.1-ml/lock.json" in err
    assert lock()[0] == 0
    assert lock("--check")[0] == 0
