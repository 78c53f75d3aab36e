"""Class data: who is told of it, what it is made of, and where it is kept."""

import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlruntime.cluster.preparing
import mlruntime.store.store
import pytest
from mlruntime.cluster.class_data import (
    FOLDER,
    OPTIONS,
    ClassData,
    application_settings,
    files_of,
    jar_of,
)
from mlruntime.cluster.preparing import key_of, prepare, prepared
from mlruntime.cluster.programs.prepare import manifest, merged, write_jar
from mlruntime.cluster.standing import find
from mlruntime.cluster.starting import scale, up
from mlruntime.engine.archives import packed
from mlruntime.errors import CommandFailed
from mlruntime.store.contents import entries
from mlruntime.store.store import Store
from mlruntime.workflows.cluster.class_data import for_a_cluster, have
from mlruntime.workflows.store.uses import remembered

from tests.unit.cluster.test_standing import SPEC, FakeEngine

IMAGE: Any = SimpleNamespace(id="sha256:1", user="1000:1000")
KEY = "ab" * 32
OTHER: Any = SimpleNamespace(id="sha256:2", user="1000:1000")


class Preparing:
    """An engine whose containers leave these files, or end with this code."""

    def __init__(self, code: int = 0, names: tuple[str, ...] = ()) -> None:
        self.code, self.names, self.runs = code, names, 0

    def run(
        self, image: str, command: list[str], *, on_end: Callable[[Any], None], **options: Any
    ) -> Any:
        self.runs += 1
        files = {
            f"class-data/{name}": f"{name} of {image}".encode()
            for name in self.names or (command[3], "spark.jsa")
        }
        if self.code == 0:
            archive = packed(files, ("class-data",))
            on_end(SimpleNamespace(get=lambda path: archive if path == FOLDER else iter(())))
        return SimpleNamespace(exit_code=self.code, tail="first\nlast words")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_it_is_made_once_for_an_image_and_kept(store: Store) -> None:
    engine: Any = Preparing()
    assert prepared(store, IMAGE) is None
    made = prepare(store, engine, IMAGE)
    assert made == prepare(store, engine, IMAGE) == prepared(store, IMAGE)
    assert engine.runs == 1
    assert made.files["spark.jsa"].read_text() == "spark.jsa of sha256:1"
    assert prepared(store, OTHER) is None


def test_what_is_not_whole_is_made_again(store: Store) -> None:
    engine: Any = Preparing()
    prepare(store, engine, IMAGE).files["spark.jsa"].unlink()
    assert prepared(store, IMAGE) is None
    prepare(store, engine, IMAGE)
    store.record_path("class-data", key_of(IMAGE)).write_text("{")
    assert prepared(store, IMAGE) is None
    rotten = prepare(store, engine, IMAGE).files["spark.jsa"]
    rotten.chmod(0o600)
    rotten.write_text("rotten")
    assert prepared(store, IMAGE) is None and not rotten.exists()
    assert prepare(store, engine, IMAGE).files["spark.jsa"].read_text() != "rotten"
    assert engine.runs == 4


def test_a_container_that_fails_says_why_and_leaves_nothing(store: Store) -> None:
    engine: Any = Preparing(code=1)
    with pytest.raises(CommandFailed, match="exited with 1") as caught:
        prepare(store, engine, IMAGE)
    assert "last words" in str(caught.value.why)
    engine = Preparing(names=("spark.jar",))
    with pytest.raises(CommandFailed, match=r"made no spark\.jsa"):
        prepare(store, engine, IMAGE)
    assert list(entries(store)) == []


def test_pruning_keeps_what_was_used_lately(store: Store) -> None:
    engine: Any = Preparing()
    files = have(store, engine, IMAGE).files
    (needed,) = remembered(store, time.time() - 60)
    assert ("class-data", key_of(IMAGE)) in needed
    assert all(("blobs", path.name) in needed for path in files.values())
    assert {e.kind for e in entries(store)} == {"blobs", "class-data", "uses"}
    assert list(remembered(store, time.time() + 60)) == []


def test_a_cluster_does_without_where_it_cannot_be_had(store: Store, tmp_path: Path) -> None:
    said: list[str] = []
    failing: Any = Preparing(code=1)
    with for_a_cluster(store, failing, IMAGE, said.append, make=True) as found:
        assert found is None
    assert said[0].startswith("preparing the image")
    assert "exited with 1" in said[1]
    (tmp_path / "file").touch()
    engine: Any = Preparing()
    with for_a_cluster(Store(tmp_path / "file"), engine, IMAGE, said.append, make=True) as found:
        assert found is None
    assert "cannot write here" in said[-1]


def test_what_is_there_is_taken_without_a_word(store: Store) -> None:
    engine: Any = Preparing()
    have(store, engine, IMAGE)
    said: list[str] = []
    for make in (False, True):
        with for_a_cluster(store, engine, IMAGE, said.append, make=make) as found:
            assert found is not None
    assert said == [] and engine.runs == 1


@pytest.mark.parametrize("make", [False, True])
def test_a_cluster_has_it_hashed_once(
    store: Store, make: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is there or is made just then: `cluster up` waits for it."""
    engine: Any = Preparing()
    if not make:
        files = have(store, engine, IMAGE).files
    hashed: list[str] = []
    for module in (mlruntime.store.store, mlruntime.cluster.preparing):
        real = module.file_sha256
        monkeypatch.setattr(
            module, "file_sha256", lambda path, real=real: hashed.append(path.name) or real(path)
        )
    with for_a_cluster(store, engine, IMAGE, print, make=make) as found:
        assert found is not None
    expected = found.files if make else {path.name for path in files.values()}
    assert sorted(hashed) == sorted(expected)


def test_who_does_not_ask_for_it_does_not_wait_for_it(store: Store) -> None:
    engine: Any = Preparing()
    with for_a_cluster(store, engine, IMAGE, print, make=False) as found:
        assert found is None
    assert engine.runs == 0


@pytest.mark.parametrize("make", [False, True])
def test_a_cluster_that_does_not_come_up_says_so_itself(store: Store, make: bool) -> None:
    """Its error is not taken for one of the class data, whether there is some or not."""
    engine: Any = Preparing()
    said: list[str] = []
    with (
        pytest.raises(CommandFailed, match="no worker"),
        for_a_cluster(store, engine, IMAGE, said.append, make=make),
    ):
        raise CommandFailed("no worker has registered")
    assert not any("class data" in line for line in said)


@pytest.fixture
def files(tmp_path: Path) -> ClassData:
    found = {name: tmp_path / name for name in files_of(KEY)}
    for name, path in found.items():
        path.write_text(name)
    return ClassData(key=KEY, files=found)


def test_all_nodes_of_a_cluster_are_told(files: ClassData) -> None:
    engine: Any = FakeEngine()
    up(engine, SPEC, "a", class_data=files)
    conf = engine.archives["master:/etc/spark"]
    assert conf["class-data/spark.jsa"] == b"spark.jsa"
    lines = conf["spark-defaults.conf"].decode().splitlines()
    assert f"spark.executor.extraClassPath {FOLDER}/spark-abababababababab.jar" in lines
    assert f"spark.driver.defaultJavaOptions {' '.join(OPTIONS)}" in lines
    engine.answers = ["3"]
    scale(engine, find(engine, "a"), 3)
    for node in ("master", "worker-1", "worker-3"):
        environment = engine.options[node]["environment"]
        assert environment["SPARK_DAEMON_CLASSPATH"] == f"{FOLDER}/{jar_of(KEY)}"
        assert environment["SPARK_DAEMON_JAVA_OPTS"].split()[-len(OPTIONS) :] == list(OPTIONS)
        assert "-XX:+UseSerialGC" in environment["SPARK_DAEMON_JAVA_OPTS"]


def test_without_it_nobody_is_told() -> None:
    engine: Any = FakeEngine()
    up(engine, SPEC, "a")
    assert engine.archives["master:/etc/spark"].keys() == {"spark-defaults.conf"}
    told = f"{engine.archives} {[o['environment'] for o in engine.options.values()]}"
    assert "class-data" not in told and "CLASSPATH" not in told


def test_the_images_own_options_stay_and_a_users_settings_come_last(files: ClassData) -> None:
    added = application_settings(
        "# text\nspark.driver.defaultJavaOptions   -Xss4m -Da=b\n\nx y\n", KEY
    )
    assert added["spark.driver.defaultJavaOptions"].split() == ["-Xss4m", "-Da=b", *OPTIONS]
    assert added["spark.executor.defaultJavaOptions"].split() == list(OPTIONS)
    engine: Any = FakeEngine()
    settings = {"spark.driver.extraClassPath": "/mine.jar"}
    up(engine, replace(SPEC, settings=settings), "a", class_data=files)
    lines = engine.archives["master:/etc/spark"]["spark-defaults.conf"].decode().splitlines()
    paths = [line for line in lines if line.startswith("spark.driver.extraClassPath ")]
    assert paths[-1].endswith(" /mine.jar")


def test_a_manifest_is_in_lines_as_java_reads_them() -> None:
    jars = [f"../../../opt/spark/jars/a-rather-long-name-{n}.jar" for n in range(300)]
    text = manifest(jars)
    lines = text.split(b"\r\n")
    assert all(len(line) <= 70 for line in lines)
    assert lines[-2:] == [b"", b""]
    whole = text.replace(b"\r\n ", b"").split(b"\r\n")
    assert whole[0] == b"Manifest-Version: 1.0"
    assert whole[1].decode() == "Class-Path: " + " ".join(jars)


def test_the_jar_names_those_of_a_folder_from_where_it_is(tmp_path: Path) -> None:
    folder, place = tmp_path / "spark" / "jars", tmp_path / "etc"
    folder.mkdir(parents=True)
    place.mkdir()
    for name in ("b.jar", "a.jar", "readme.txt"):
        (folder / name).touch()
    jar = place / "spark.jar"
    write_jar(jar, folder)
    assert jar.stat().st_mtime == 0
    with zipfile.ZipFile(jar) as opened:
        (name,) = opened.namelist()
        text = opened.read(name).replace(b"\r\n ", b"").decode()
    words = text.partition("Class-Path: ")[2].split()
    named = [Path(os.path.normpath(place / word)) for word in words]
    assert named == [folder / "a.jar", folder / "b.jar"]


def test_lists_of_classes_are_put_together(tmp_path: Path) -> None:
    """Java 17 writes names only, newer ones number them, each list from 0 on."""
    (tmp_path / "1").write_text(
        "# comment\njava/lang/Object id: 0\na/B id: 7\n@lambda-proxy a/B x\n"
    )
    (tmp_path / "2").write_text("java/lang/Object\nc/D id: 7\ne/F id: 8 super: 0 source: f.jar\n")
    assert merged(tmp_path) == ["java/lang/Object", "a/B", "@lambda-proxy a/B x", "c/D"]
