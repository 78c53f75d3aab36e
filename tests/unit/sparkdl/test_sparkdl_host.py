"""What a rank's host offers: cores, memory to share, a folder for checkpoints."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.unit.sparkdl_library import load

cores = load("_cores")
host = load("_host")


def tree(root: Path, cgroup: str, **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


V1 = "5:cpuacct,cpu:/docker/abc\n1:name=systemd:/docker/abc\n"


@pytest.mark.parametrize(
    ("cgroup", "files", "count"),
    [
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),  # as Java counts
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {}, 16),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        (V1, {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        (
            V1,
            {
                "cpu/docker/abc/cpu.cfs_quota_us": "100000\n",
                "cpu/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 16),
    ],
)
def test_quotas_of_containers_count(
    tmp_path: Path, sixteen: None, cgroup: str, files: dict[str, str], count: int
) -> None:
    assert cores.available(tree(tmp_path, cgroup, **files)) == count


def test_without_control_groups_the_affinity_counts(tmp_path: Path, sixteen: None) -> None:
    assert cores.available(tmp_path) == 16


def test_too_little_memory_to_share_is_told(tmp_path: Path) -> None:
    assert host.small_shared_memory(1) is None
    assert "no /nowhere" in host.small_shared_memory(2, "/nowhere")
    assert host.small_shared_memory(2, str(tmp_path)) is None  # a disk: more than enough


def test_a_small_one_is_told_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    small = os.statvfs_result((4096, 4096, 16384, 16384, 16384, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: small)
    assert "/dev/shm has 64 MiB here" in host.small_shared_memory(4)
    assert "--shm-size=1g" in host.small_shared_memory(4)


def test_a_checkpoint_folder_must_be_there(tmp_path: Path) -> None:
    host.require_checkpoints(str(tmp_path), writes=True)
    with pytest.raises(FileNotFoundError, match="is not there on this host"):
        host.require_checkpoints(str(tmp_path / "missing"), writes=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("below", ["", "run"])
def test_a_checkpoint_folder_of_another_user_is_told(below: str) -> None:
    top = Path(tempfile.mkdtemp())  # for its owner only, in a folder that all can enter
    path = top / below
    path.mkdir(exist_ok=True)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        said = ""
        try:
            os.setuid(65534)
            host.require_checkpoints(str(path), writes=True)
        except PermissionError as error:
            said = str(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.waitpid(child, 0)
    said = os.read(reading, 4096).decode()
    os.close(reading)
    os.close(writing)
    shutil.rmtree(top)
    if below:
        assert f"a folder above {path} is closed to user 65534" in said
    else:
        assert f"{path} belongs to user 0, as the driver runs, with mode 0700" in said
        assert "this rank runs as user 65534" in said
    assert "go through the driver" in said
