"""Checks in an environment: what is asked there, and that nothing of a run is left."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.local import LocalClusters
from mlruntime.engine import ImageInfo
from mlruntime.errors import CommandFailed
from mlruntime.host.command import Child
from mlruntime.validation import resources
from mlruntime.validation.programs.elf import ElfFiles, Library
from mlruntime.workflows.checking import is_path

IMAGE = ImageInfo(id="wanted", tags=(), labels={}, size=0, user="", environment=(), diff_ids=())
# It has a child in a process group of its own, as pyspark.daemon has, and both ignore SIGTERM.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    time.sleep(600)
print(child, flush=True)
print("on stderr", file=sys.stderr, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("on", "path"),
    [
        ("./ml", True), ("/srv/my ml", True), ("a/b", True), ("../ml", True),
        ("ml", False), ("containers", False), ("spark://host:7077", False), ("spark:/host", False),
    ],
)  # fmt: skip
def test_what_is_a_path(on: str, path: bool) -> None:
    assert is_path(on) is path


@pytest.mark.starts
def test_a_process_is_heard_and_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlruntime.host.command.GRACE_SECONDS", 0.2)
    child = Child(["python3", "-c", STUBBORN], env=os.environ, cwd=tmp_path)
    lines = iter(child)
    said = [next(lines), next(lines)]
    assert ("stderr", "on stderr") in said
    pid = int(next(line for stream, line in said if stream == "stdout"))
    assert _runs(pid)
    child.kill()
    assert child.exit_code() == 137
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    """Return whether a process is there, and not only waits for somebody to ask how it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.starts
def test_a_process_that_ends_and_one_that_cannot_start(tmp_path: Path) -> None:
    child = Child(["sh", "-c", "echo one; exit 3"], env=os.environ, cwd=tmp_path)
    assert list(child) == [("stdout", "one")]
    assert child.exit_code() == 3
    with pytest.raises(CommandFailed, match="no-such-program could not be started"):
        Child(["no-such-program"], env=os.environ, cwd=tmp_path)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalClusters:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "spark").mkdir()
    environ = {**os.environ, "SPARK_HOME": str(tmp_path / "spark")}
    return LocalClusters(environ=environ, wanted=IMAGE, identity="wanted", python="3.11.7")


def _up(place: LocalClusters) -> Any:
    spec = ClusterSpec(image="wanted", workers=3)
    return place.up(spec, say=lambda _: None, ready=1, clock=lambda: 0.0)


@pytest.mark.starts
def test_a_run_has_a_folder_of_its_own_and_leaves_nothing(
    place: LocalClusters, tmp_path: Path
) -> None:
    with pytest.raises(ZeroDivisionError), _up(place) as running:
        assert running.master_url == "local-cluster[3,1,1024]"
        assert running.worker_hosts == (socket.gethostname(),) * 3
        assert set(running.images().values()) == {"wanted"}
        running.put(resources.PARENT, resources.archive({"a": 1}))
        (tmp_path / "spark" / "work").mkdir()
        process = running.run(
            [
                "sh",
                "-c",
                'ls; cat "$0"; echo; echo "$TMPDIR"; exec sleep 600',
                resources.EXPECTATION,
            ],
            workdir=resources.FOLDER,
        )
        said = [process.items.get(timeout=20)[1] for _ in range(7)]
        folder = Path(said[-1])
        assert folder.parent == tmp_path / "tmp"
        assert said[:3] == ["elftools", "expect.json", "programs"] and ' "a": 1' in said
        raise ZeroDivisionError
    assert process.items.get(timeout=20) == 143
    assert not any((tmp_path / "tmp").iterdir()) and not any((tmp_path / "spark").iterdir())
    assert not Path(resources.FOLDER, "expect.json").exists()


def test_what_was_in_spark_before_stays(place: LocalClusters, tmp_path: Path) -> None:
    (tmp_path / "spark" / "work").mkdir()
    with _up(place):
        pass
    assert (tmp_path / "spark" / "work").is_dir()


@pytest.mark.starts
def test_a_library_is_looked_for_where_the_linker_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "libx-of-a-test.so.1").touch()
    library = Library(path=tmp_path / "y", soname=None, needed=(), search=())
    assert ElfFiles(tmp_path).find(library, "libx-of-a-test.so.1") is None
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{tmp_path}")
    assert (
        ElfFiles(tmp_path).find(library, "libx-of-a-test.so.1") == tmp_path / "libx-of-a-test.so.1"
    )
