"""Bad input, through the command line: the exit code, the exact words, and never a traceback.

The words are in ``tests/golden/errors``; ``MLRUNTIME_GOLDEN=write`` writes them anew.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from mlruntime import cli
from mlruntime.cli import main
from mlruntime.definitions.files import Definitions
from mlruntime.documents.reading import read_json, read_yaml
from mlruntime.ecosystems.native.inputs import load_recipes
from mlruntime.engine.values import ImageInfo
from mlruntime.errors import InvalidDefinition, StorageError
from mlruntime.host import command
from mlruntime.lock.model import Lock, Variant
from mlruntime.lock.packages import Artifact, NativeWheel
from mlruntime.locking.staleness import input_digests
from mlruntime.validation.session import Subject
from mlruntime.workflows.build import created
from mlruntime.workflows.locked import lock_request
from mlruntime.workflows.locking import write_if_changed
from mlruntime.workflows.planning import planned_image

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parents[2] / "golden" / "errors"

MATRIX = """\
components:
  debian: {title: Debian, summary: x, releases: ["12"]}
  python:
    title: Python
    summary: x
    releases: ["3.11", "3.10"]
    artifacts: [{origin: debian, name: "python{python.minor}"}]
  spark:
    title: Spark
    summary: x
    releases: ["3.5.8"]
    artifacts: [{origin: pypi, name: pyspark}]
preference: [spark, python, debian]
rules:
  - id: spark-python
    says: Spark needs a new Python
    when: {spark: "==3.5.*"}
    requires: {python: ">=3.11"}
    evidence: documented
    source: https://spark.apache.org/docs/3.5.8/
    date: 2026-11-20
"""
SOURCE = "    source: https://spark.apache.org/docs/3.5.8/\n"
RUNTIME = """\
runtime: 0.1-ml
summary: x
snapshot: 2026-11-20T00:00:00Z
variants: [cpu]
request: {debian: "*", python: "*", spark: "==3.5.*"}
"""
LAYERS = """\
layers:
  - {name: settings, source: files, files: settings}
config: {user: "1000:1000", workdir: /, entrypoint: [tini], command: [sh], environment: {}}
"""
RECIPE = "name: toy\npatched: {1+a: {of: '1', patches: [one.patch]}}\n"
FILES = {
    "matrix.yaml": MATRIX,
    "runtimes/0.1-ml/runtime.yaml": RUNTIME,
    "images/layers.yaml": LAYERS,
    "images/rootfs/settings/etc/settings.j2": "runtime = {{ runtime }}\n",
    "images/toy/recipe.yaml": RECIPE,
    "images/toy/one.patch": "--- a\n+++ b\n",
}
LOCKED = "runtimes/0.1-ml/lock.json"


def artifact(kind: str, name: str, version: str) -> Artifact:
    return Artifact(
        kind=kind,
        name=name,
        version=version,
        filename=f"{name}.{kind}",
        size=7,
        sha256=f"{len(name):064x}",
        origin="pypi",
    )


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Definitions that are right in every respect, with a lock that follows from them."""
    monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    folder = tmp_path / "own"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / LOCKED).write_text(lock(folder).to_json(), encoding="utf-8")
    return folder


def lock(root: Path) -> Lock:
    native = NativeWheel(
        name="toy",
        version="1",
        python="3.11",
        sdist=artifact("sdist", "toy", "1"),
        link_against=(),
        requirements=(),
        environment=(),
        patches=(),
        base="sha256:1",
        build_depends="sha256:1",
    )
    return Lock(
        runtime="0.1-ml",
        inputs=input_digests(
            lock_request(Definitions(root), "0.1-ml"), load_recipes(root / "images")
        ),
        snapshot="2026-11-20T00:00:00Z",
        components=(("debian", "12"), ("python", "3.11"), ("spark", "3.5.8")),
        omitted=(),
        os=(),
        build_depends=(),
        python=(artifact("wheel", "pyspark", "3.5.8"),),
        jars=(),
        variants=(Variant(name="cpu", python=(), native=(native,)),),
    )


@dataclass(frozen=True)
class Bad:
    """What is wrong, what is called, and how it must exit."""

    name: str
    code: int
    words: tuple[str, ...]
    change: Callable[[Path], object] = lambda _: None

    def __str__(self) -> str:
        return self.name


def swap(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        text = (root / name).read_text(encoding="utf-8")
        assert old in text
        (root / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def whole(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / name).write_bytes(content)


def gone(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).unlink()


def folder(name: str) -> Callable[[Path], object]:
    """A directory where a file should be: what nobody, not even root, can read."""

    def change(root: Path) -> None:
        (root / name).unlink()
        (root / name).mkdir()

    return change


def no_images(root: Path) -> None:
    shutil.rmtree(root / "images")


CHECK, RESOLVE = ("matrix", "check"), ("resolve", "0.1-ml")
BUILD, STALE = ("build", "0.1-ml"), ("lock", "0.1-ml", "--check")
WITH = (*BUILD, "--with", "{root}/mine")
WITH_JARS = (*BUILD, "--with-jars", "{root}/mine")
Y, R, L, C = "matrix.yaml", "runtimes/0.1-ml/runtime.yaml", "images/layers.yaml", LOCKED
P, T = "images/toy/recipe.yaml", "images/rootfs/settings/etc/settings.j2"
LATIN = b"summary: caf\xe9\n"

CASES = {
    "matrix": [
        Bad("not YAML", 4, CHECK, swap(Y, "[spark, python", "[spark, [python")),
        Bad("a tab", 4, CHECK, swap(Y, "  debian", "\tdebian")),
        Bad("a key twice", 4, CHECK, swap(Y, "preference:", "rules: []\npreference:")),
        Bad("a list as a key", 4, CHECK, swap(Y, "preference:", "[a, b]: c\npreference:")),
        Bad("a control character", 4, CHECK, swap(Y, "Spark needs", "Spark \x01 needs")),
        Bad("not UTF-8", 4, CHECK, whole(Y, LATIN)),
        Bad("empty", 4, CHECK, whole(Y, b"")),
        Bad("a list", 4, CHECK, whole(Y, b"- a\n")),
        Bad("an unknown key at the top", 4, CHECK, swap(Y, "preference", "preferences")),
        Bad("a key of before", 4, CHECK, swap(Y, "rules:", "edges:")),
        Bad("an unknown key of a rule", 4, CHECK, swap(Y, "evidence", "evidenc")),
        Bad("a key unlike any other", 4, CHECK, swap(Y, "says:", "zzz:")),
        Bad("a list for text", 4, CHECK, swap(Y, "title: Spark", "title: [Spark]")),
        Bad("a number for text", 4, CHECK, swap(Y, '["12"]', "[12]")),
        Bad("an unknown component", 4, CHECK, swap(Y, "{python: ", "{pyton: ")),
        Bad("not a specifier", 4, CHECK, swap(Y, ">=3.11", "at least 3.11")),
        Bad("a rule without a source", 4, CHECK, swap(Y, SOURCE, "")),
        Bad("a date in the future", 4, CHECK, swap(Y, "date: 2026-11-20", "date: 2999-01-01")),
        Bad("unusable everywhere", 4, CHECK, swap(Y, ">=3.11", ">=3.12")),
    ],
    "runtime": [
        Bad("not YAML", 4, RESOLVE, swap(R, "[cpu]", "[cpu")),
        Bad("not UTF-8", 4, RESOLVE, whole(R, LATIN)),
        Bad("not UTF-8, locking", 4, STALE, whole(R, LATIN)),
        Bad("an unknown key", 4, RESOLVE, swap(R, "request", "requests")),
        Bad("text for a list", 4, RESOLVE, swap(R, "[cpu]", "cpu")),
        Bad("an unknown variant", 4, RESOLVE, swap(R, "[cpu]", "[gpus]")),
        Bad("an unknown component", 4, RESOLVE, swap(R, "spark:", "sprak:")),
        Bad("not a specifier", 4, RESOLVE, swap(R, "==3.5.*", "3.5 or so")),
        Bad("not a moment", 4, RESOLVE, swap(R, "2026-11-20T00:00:00Z", "yesterday")),
        Bad("a snapshot in the future", 4, ("lock", "0.1-ml"), swap(R, "2026-11-20", "2999-01-01")),
        Bad("the name of another", 4, RESOLVE, swap(R, "0.1-ml", "0.2-ml")),
        Bad("no such release", 3, RESOLVE, swap(R, "==3.5.*", "==3.6.*")),
    ],
    "layers": [
        Bad("not YAML", 4, BUILD, swap(L, "{}}", "{}")),
        Bad("not UTF-8", 4, BUILD, whole(L, LATIN)),
        Bad("missing", 4, BUILD, gone(L)),
        Bad("a directory", 4, BUILD, folder(L)),
        Bad("no images", 4, BUILD, no_images),
        Bad("no images, locking", 4, ("lock", "0.1-ml"), no_images),
        Bad("an unknown key", 4, BUILD, swap(L, "files: settings}", "file: settings}")),
        Bad("an unknown source", 4, BUILD, swap(L, "source: files", "source: file")),
        Bad("text for a list", 4, BUILD, swap(L, "[tini]", "tini")),
        Bad("a folder that is not there", 4, BUILD, swap(L, "files: set", "files: se")),
        Bad("an unknown variable", 4, BUILD, swap(L, "[tini]", '["{{ scala.full }}"]')),
        Bad("a template that is none", 4, BUILD, swap(L, "[tini]", '["{{ spark"]')),
        Bad("a template not UTF-8", 4, BUILD, whole(T, LATIN)),
    ],
    "recipe": [
        Bad("not YAML", 4, BUILD, swap(P, "name: toy", "name: : toy")),
        Bad("not UTF-8", 4, BUILD, whole(P, LATIN)),
        Bad("an unknown key", 4, BUILD, swap(P, "patches", "patchs")),
        Bad("text for a list", 4, BUILD, swap(P, "[one.patch]", "one.patch")),
        Bad("a patch elsewhere", 4, BUILD, swap(P, "one.patch", "../one.patch")),
    ],
    "lock": [
        Bad("missing", 4, BUILD, gone(C)),
        Bad("truncated", 4, BUILD, swap(C, '"variants"', '"vari')),
        Bad("empty", 4, BUILD, whole(C, b"")),
        Bad("not UTF-8", 4, BUILD, whole(C, LATIN)),
        Bad("a directory", 4, BUILD, folder(C)),
        Bad("a conflict of a merge", 4, BUILD, swap(C, ' "runtime"', '<<<<<<< HEAD\n "runtime"')),
        Bad("a key twice", 4, BUILD, swap(C, ' "runtime"', ' "format": 2,\n "runtime"')),
        Bad("an unknown key", 4, BUILD, swap(C, '"jars"', '"jar"')),
        Bad("another format", 4, BUILD, swap(C, '"format": 2', '"format": 99')),
        Bad("an old format", 4, BUILD, swap(C, '"format": 2', '"format": 1')),
        Bad("a number for text", 4, BUILD, swap(C, '"version": "3.5.8"', '"version": 3.5')),
        Bad("a hash by hand", 4, BUILD, swap(C, "00007", "0007")),
        Bad("a file name by hand", 4, BUILD, swap(C, "pyspark.wheel", "../pyspark.wheel")),
        Bad("a recipe by hand", 4, BUILD, swap(C, 'base": "sha256:1', 'base": "sha256:2')),
        Bad("the lock of another", 4, BUILD, swap(C, '"0.1-ml"', '"0.2-ml"')),
        Bad("without Python", 4, BUILD, swap(C, '  "python": "3.11",\n', "")),
        Bad("stale matrix", 4, BUILD, swap(Y, '["3.5.8"]', '["3.5.8", "3.5.9"]')),
        Bad("stale recipe", 4, BUILD, swap(P, "1+a", "1+b")),
        Bad("stale everything", 4, STALE, lambda root: [
            swap(R, "debian: \"*\"", "debian: \"==12\"")(root),
            swap(R, "2026-11-20", "2026-11-21")(root),
            swap(P, "1+a", "1+b")(root),
            swap(C, '"spark": "3.5.8"', '"spark": "3.5.7"')(root),
        ]),
    ],
    "additions": [
        Bad("a URL", 4, WITH, whole("mine", b"toy @ https://example.org/toy.whl\n")),
        Bad("a file", 4, WITH, whole("mine", b"./toy-1-py3-none-any.whl\n")),
        Bad("an editable install", 4, WITH, whole("mine", b"-e .\n")),
        Bad("a hash of another kind", 4, WITH, whole("mine", b"toy==1 --hash=md5:00\n")),
        Bad("a requirement that is none", 4, WITH, whole("mine", b"toy=1\n")),
        Bad("not UTF-8", 4, WITH, whole("mine", LATIN)),
        Bad("missing", 4, WITH),
        Bad("a jar by its address", 4, WITH_JARS, whole("mine", b"https://example.org/toy.jar\n")),
        Bad("a jar by its file", 4, WITH_JARS, whole("mine", b"./toy.jar\n")),
        Bad("jars missing", 4, WITH_JARS),
    ],
    "usage": [
        Bad("an unknown runtime", 2, ("resolve", "0.1-lm")),
        Bad("an unknown runtime to lock", 2, ("lock", "1")),
        Bad("an unknown runtime to build", 2, ("build", "../0.1-ml")),
        Bad("an unknown variant", 2, ("build", "0.1-ml", "--variant", "gpu")),
        Bad("an unknown component", 2, ("matrix", "show", "sprak")),
        Bad("a setting that is none", 2, ("resolve", "0.1-ml", "--set", "spark==x y")),
        Bad("a setting of nothing", 2, ("resolve", "0.1-ml", "--set", "sprak==3")),
        Bad("--registry without --check", 2, ("lock", "0.1-ml", "--registry")),
        Bad("a setting twice", 2, (*RESOLVE, "--set", "spark==3.5.8", "--set", "Spark==3")),
        Bad("a place that is none", 2, ("validate", "0.1-ml", "--on", "spark:/host")),
    ],
}  # fmt: skip


PARSED = [
    (("biuld", "0.1-ml"), "Did you mean 'build'?"),
    (("build", "0.1-ml", "--varient", "cpu"), "--variant"),
    (("build",), "Missing argument"),
    (("validate", "0.1-ml", "--workers", "two"), "Invalid value for '--workers'"),
    (("validate", "0.1-ml", "--workers", "0"), "Invalid value for '--workers'"),
]


def told(words: tuple[str, ...], root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit code and stderr; stdout must be empty, and no traceback anywhere."""
    code = main(["--root", str(root), *words])
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert "a bug in mlruntime" not in err
    return code, err.replace(str(root.parent), "TMP")


def golden(group: str) -> dict[str, str]:
    path = GOLDEN / f"{group}.txt"
    sections = path.read_text(encoding="utf-8").split("# ") if path.is_file() else []
    return dict(section.split("\n", 1) for section in sections if section)


@pytest.mark.parametrize(
    ("group", "case"), [(group, case) for group, cases in CASES.items() for case in cases], ids=str
)
def test_bad_input_is_told_with_its_place(
    group: str, case: Bad, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case.change(root)
    words = tuple(word.replace("{root}", str(root)) for word in case.words)
    code, err = told(words, root, capsys)
    found, expected = f"{err}\n", golden(group)
    title = f"{case.name}: exit {code}"
    if os.environ.get("MLRUNTIME_GOLDEN") == "write":
        known = {t: text for t, text in expected.items() if t.partition(":")[0] != case.name}
        order = {c.name: n for n, c in enumerate(CASES[group])}
        all_of = sorted(
            (known | {title: found}).items(), key=lambda i: order[i[0].partition(":")[0]]
        )
        GOLDEN.mkdir(parents=True, exist_ok=True)
        text = "".join(f"# {name}\n{said}" for name, said in all_of)
        (GOLDEN / f"{group}.txt").write_text(text, encoding="utf-8")
        expected = golden(group)
    assert code == case.code
    assert found == expected[title]


@pytest.mark.parametrize("group", CASES)
def test_the_golden_files_hold_nothing_else(group: str) -> None:
    assert [title.rpartition(":")[0] for title in golden(group)] == [c.name for c in CASES[group]]


@pytest.mark.parametrize(("words", "hint"), PARSED, ids=str)
def test_words_that_are_none_are_told_as_the_parser_does(
    words: tuple[str, ...], hint: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, err = told(words, root, capsys)
    assert code == 2
    assert "Usage: mlruntime" in err
    assert hint in err


# what surrounds us: folders, engine, disk, environment


def test_a_root_without_definitions(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (root.parent, root / "nowhere"):
        code, err = told(("matrix", "check"), folder, capsys)
        assert code == 2
        assert f"{folder.name}: no definitions found" in err.replace("TMP", root.parent.name)
        assert "why: it has no matrix.yaml" in err


def test_no_engine(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in (os.environ["DOCKER_HOST"], "tcp://127.0.0.1:9"):
        monkeypatch.setenv("DOCKER_HOST", host)
        for words in (("validate", "0.1-ml"), ("build", "0.1-ml", "--load")):
            code, err = told(words, root, capsys)
            assert code == 6
            assert "mlruntime: no container engine answers\n  why: " in err
            assert "try: start one: `./dev engine`" in err


class Engines:
    """An engine that has one image."""

    def __init__(self, labels: dict[str, str]) -> None:
        self.found = ImageInfo(
            id="sha256:0", tags=(), labels=labels, size=0, user="", environment=(), diff_ids=()
        )

    def image(self, reference: str) -> ImageInfo | None:
        return self.found if "0.1-ml" in reference else None

    def __enter__(self) -> "Engines":
        return self

    def __exit__(self, *_: object) -> None: ...


def has_image(monkeypatch: pytest.MonkeyPatch, labels: dict[str, str]) -> None:
    """Let the engine that answers have one image."""
    monkeypatch.setattr("mlruntime.cli.validate.connect", lambda: Engines(labels))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("0.1-lm",), 2, "neither a runtime nor an image of the engine\n  try: did you mean '0.1-"),
        (("0.1-ml",), 4, "was built from another lock\n  try: build it again: `mlruntime build"),
        (("some/0.1-ml",), 2, "was not built by mlruntime: it has no label io.mlruntime.runtime"),
        (("0.1-ml", "--variant", "gpu"), 4, "has no locked variant 'gpu'\n  try: locked: cpu"),
        (("0.1-ml", "--junit", "no/such/file"), 2, "cannot write no/such/file"),
    ],
    ids=str,
)
def test_validate_of_what_cannot_be_validated(
    words: tuple[str, ...],
    code: int,
    said: str,
    root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    has_image(monkeypatch, {})
    found, err = told(("validate", *words), root, capsys)
    assert (found, said in err) == (code, True), err


def test_validate_refuses_a_stale_lock_as_build_does(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = lock(root).digest
    monkeypatch.setattr(
        "mlruntime.cli.validate.connect", lambda: Engines({"io.mlruntime.lock.digest": digest})
    )
    swap(Y, '["3.5.8"]', '["3.5.8", "3.5.9"]')(root)
    code, err = told(("validate", "0.1-ml"), root, capsys)
    assert code == 4
    assert "the lock is stale\n  why: spark 3.5.8 locked, 3.5.9 resolved" in err
    assert told(("build", "0.1-ml"), root, capsys) == (code, err)


def test_validate_refuses_an_image_of_other_definitions(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock does not say what is in ``images/``: the label with the plan's digest does."""
    labels = {
        "io.mlruntime.lock.digest": lock(root).digest,
        "io.mlruntime.plan.digest": planned_image(Definitions(root), lock(root), "cpu").digest,
    }
    has_image(monkeypatch, labels)
    validated: list[Subject] = []

    def validate(engine: object, subject: Subject, *_: object, **__: object) -> None:
        validated.append(subject)
        raise StorageError("here the checks would begin")

    monkeypatch.setattr("mlruntime.cli.validate.validate", validate)
    assert "here the checks would begin" in told(("validate", "0.1-ml"), root, capsys)[1]
    validated.clear()
    with (root / "runtimes/0.1-ml/runtime.yaml").open("a", encoding="utf-8") as file:
        file.write("lifecycle: {end-of-support: 2020-01-31}\n")
    for quiet in ((), ("--quiet",)):
        err = told((*quiet, "validate", "0.1-ml"), root, capsys)[1]
        assert "warning: 0.1-ml is not supported since 2020-01-31" in err
        assert "here the checks would begin" in err
    assert validated[0].plan == labels["io.mlruntime.plan.digest"]
    swap("images/rootfs/settings/etc/settings.j2", "runtime", "the_runtime")(root)
    relocked = lock(root)
    (root / LOCKED).write_text(relocked.to_json(), encoding="utf-8")
    for known in (labels, {"io.mlruntime.lock.digest": relocked.digest}):
        found = known | {"io.mlruntime.lock.digest": relocked.digest}
        monkeypatch.setattr("mlruntime.cli.validate.connect", lambda found=found: Engines(found))
        code, err = told(("validate", "0.1-ml"), root, capsys)
        assert code == 4
        assert "mlruntime/0.1-ml:cpu is not what the definitions describe now\n  why: " in err
        assert "try: build it again: `mlruntime build 0.1-ml --variant cpu --load`" in err
    assert len(validated) == 2


def test_an_unknown_check(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = lock(root).digest
    monkeypatch.setattr(
        "mlruntime.cli.validate.connect", lambda: Engines({"io.mlruntime.lock.digest": digest})
    )
    code, err = told(("validate", "0.1-ml", "--only", "mlib"), root, capsys)
    assert code == 2
    assert "'mlib'" in err
    assert "did you mean 'mllib'?" in err


@pytest.mark.parametrize("rubbish", ["soon", "-1.5", "1.5", "\u00b2", "9" * 30, ""])
def test_source_date_epoch_must_be_seconds(
    rubbish: str,
    root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", rubbish)
    assert told(("build", "0.1-ml"), root, capsys) == (
        2,
        f"mlruntime: SOURCE_DATE_EPOCH is {rubbish!r}\n"
        "  why: it must be a number of seconds since 1970\n",
    )


def test_source_date_epoch_is_honoured(root: Path) -> None:
    assert created(lock(root), "86400") == "1970-01-02T00:00:00Z"
    assert created(lock(root), None) == "2026-11-20T00:00:00Z"


def test_a_store_that_is_a_file(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = root.parent / "file"
    file.write_text("x")
    monkeypatch.setenv("MLRUNTIME_STORE", str(file / "store"))
    code, err = told(("build", "0.1-ml"), root, capsys)
    assert code == 6
    assert "cannot write here\n  why: Not a directory\n  try: set MLRUNTIME_STORE" in err


@pytest.mark.starts
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_disk_that_is_really_full(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the room that the layer needs; with enough of it, the same build completes."""
    disk = root.parent / "disk"
    disk.mkdir()
    settings = root / "images/rootfs/settings/etc/large"
    settings.write_bytes(os.urandom(512 << 10))
    monkeypatch.setenv("MLRUNTIME_STORE", str(disk))
    command.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk])
    try:
        for words in (("build", "0.1-ml"), ("build", "0.1-ml", "--json")):
            code, err = told(words, root, capsys)
            assert code == 6
            assert "TMP/disk: no space left on the disk\n  try: free some, or set MLRUN" in err
        assert not list((disk / "tmp").iterdir())
        assert not list((disk / "blobs").rglob("*")) if (disk / "blobs").exists() else True
        command.run(["mount", "-o", "remount,size=16m", disk])
        assert main(["--root", str(root), "build", "0.1-ml"]) == 0
    finally:
        command.run(["umount", disk])


def test_an_output_that_cannot_be_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root.parent / "file").write_text("x")
    before = sorted(root.rglob("*"))
    code, err = told(("build", "0.1-ml", "--output", str(root)), root, capsys)
    assert code == 2
    assert "TMP/own is not an OCI layout, and not empty" in err
    assert sorted(root.rglob("*")) == before
    below = str(root.parent / "file" / "below")
    code, err = told(("build", "0.1-ml", "--output", below), root, capsys)
    assert code == 6
    assert "cannot write here" in err
    assert "try: write it elsewhere" in err
    for twice in (1, 2):
        assert main(["--root", str(root), "build", "0.1-ml", "--output", f"{root}/../out"]) == 0
        assert (root.parent / "out" / "index.json").is_file(), twice


def test_a_ca_bundle_that_is_none(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = root.parent / "rubbish.pem"
    code, err = told(("--ca-bundle", str(bundle), "lock", "0.1-ml"), root, capsys)
    assert (code, "--ca-bundle names a file that is not there" in err) == (2, True)
    bundle.write_text("nothing of the kind")
    code, err = told(("--ca-bundle", str(bundle), "lock", "0.1-ml"), root, capsys)
    assert (code, "rubbish.pem: the CA bundle has no readable certificates" in err) == (2, True)


def test_no_home_directory(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.delenv("MLRUNTIME_STORE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert told(("build", "0.1-ml"), root, capsys) == (
        2,
        "mlruntime: this user has no home directory\n  try: set HOME, or MLRUNTIME_STORE\n",
    )


def test_an_old_lock_that_is_rubbish_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    path.write_bytes(b"\xff\xfe")
    assert write_if_changed(path, "new")
    assert not write_if_changed(path, "new")
    assert path.read_text() == "new"
    with pytest.raises(StorageError, match="cannot write here") as caught:
        write_if_changed(path / "below", "new")
    assert caught.value.hint == "lock in a folder of yours, with --root"


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000])
def test_documents_beyond_reason(text: str) -> None:
    for read, kind in ((read_json, "JSON"), (read_yaml, "YAML")):
        with pytest.raises(InvalidDefinition, match=f"not valid {kind}"):
            read(text, file="file")


# how it ends


def _raising(monkeypatch: pytest.MonkeyPatch, problem: BaseException) -> None:
    def verb() -> None:
        raise problem

    def application(words: object = ()) -> Any:
        app = cli.typer.Typer(pretty_exceptions_enable=False)
        app.command()(verb)
        return app

    monkeypatch.setattr(cli, "application", application)


def test_an_interrupt_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raising(monkeypatch, KeyboardInterrupt())
    assert main([]) == 130
    assert capsys.readouterr().err == "mlruntime: interrupted\n"


def test_who_stops_reading_gets_no_complaint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raising(monkeypatch, BrokenPipeError(32, "Broken pipe"))
    out, err = sys.stdout, sys.stderr
    try:
        assert main([]) == 130
    finally:
        sys.stdout, sys.stderr = out, err
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("full", [False, True])
def test_a_bug_leaves_its_traceback_in_a_file_if_there_is_room(
    full: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_room(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if full:
        monkeypatch.setattr("tempfile.NamedTemporaryFile", no_room)
    _raising(monkeypatch, ZeroDivisionError("x"))
    assert main([]) == 1
    err = capsys.readouterr().err
    assert "mlruntime: a bug in mlruntime: ZeroDivisionError: x\n" in err
    assert ("Traceback" in err) == full
    assert [p.suffix for p in tmp_path.iterdir()] == ([] if full else [".traceback"])


@pytest.fixture
def handlers() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_end_is_like_ctrl_c(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> int:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        return 130

    monkeypatch.setattr(cli, "main", interrupted)
    with pytest.raises(SystemExit, match="130"):
        cli.run()


@pytest.mark.usefixtures("handlers")
def test_nohup_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr(cli, "main", lambda: 0)
    with pytest.raises(SystemExit, match="0"):
        cli.run()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.starts
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_does_not_wait_for_a_registry_that_stalls(
    number: signal.Signals, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole tool in a process of its own, while it waits for a jar's first byte."""
    swap(L, "layers:", "layers:\n  - {name: jars, source: jars, into: opt/jars}")(root)
    made = replace(lock(root), jars=(replace(artifact("jar", "g:toy", "1"), origin="maven"),))
    (root / LOCKED).write_text(made.to_json(), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/maven"
        monkeypatch.setenv("MLRUNTIME_MAVEN_REPOSITORY", url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        words = [sys.executable, "-m", "mlruntime", "--root", str(root), "build", "0.1-ml"]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=ROOT) as tool:
            silent.settimeout(60)
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(3) == b"GET"
                tool.send_signal(number)
                _, err = tool.communicate(timeout=30)
    assert (tool.returncode, err) == (130, "mlruntime: interrupted\n")
