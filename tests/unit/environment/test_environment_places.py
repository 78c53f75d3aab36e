"""Where an environment and its store are: on two file systems, without links, on a full disk."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mlruntime.cli.env.output import text
from mlruntime.environment.creation import create
from mlruntime.environment.description import read_files
from mlruntime.environment.linking import COPY, LINK, REFLINK, Linker
from mlruntime.environment.repairing import change
from mlruntime.environment.verification import differences

from tests.unit.apart import LINK as LINKING
from tests.unit.apart import can_mount, mount_small_disk, outcome, refuse
from tests.unit.environment.test_environment import SITE, World

MEMORY = Path("/dev/shm")
TOLD = "copied: the store is on another file system, or this one has no links"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory on another file system than the store's."""
    if not MEMORY.is_dir() or MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system: /dev/shm")
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    yield folder
    shutil.rmtree(folder)


def test_on_another_file_system_than_the_store_files_are_copied(
    world: World, elsewhere: Path
) -> None:
    root = elsewhere / "ml"
    made = world.create(root)
    assert set(made.made) == {COPY}
    assert TOLD in text(made, 1)
    assert differences(root, read_files(root)).damaged == ()
    assert (root / SITE / "toy.py").stat().st_nlink == 1
    assert os.access(root / "bin" / "toy", os.X_OK)


@pytest.mark.parametrize(
    "number", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS]
)
def test_where_the_kernel_refuses_links_files_are_copied(
    world: World, tmp_path: Path, number: int
) -> None:
    def work() -> object:
        refuse(LINKING, number)
        return text(world.create(tmp_path / "ml", Linker((LINK, COPY))), 1)

    assert outcome(work).splitlines()[-1] == TOLD
    assert differences(tmp_path / "ml", read_files(tmp_path / "ml")).damaged == ()


def test_a_clone_is_only_counted_where_the_kernel_made_one(world: World, tmp_path: Path) -> None:
    """Either way the files are not the store's own: writing to one changes no other."""
    made = world.create(tmp_path / "ml", Linker((REFLINK, COPY)))
    (way,) = made.made
    file = tmp_path / "ml" / SITE / "toy.py"
    assert (way == REFLINK) == can_clone(file, tmp_path / "clone")
    assert file.stat().st_nlink == 1 and file.stat().st_mode & 0o200
    file.write_text("answer = 43\n")
    world.create(tmp_path / "other")
    assert (tmp_path / "other" / SITE / "toy.py").read_text().startswith("answer = 42")


def can_clone(file: Path, target: Path) -> bool:
    """Tell whether `cp` can clone a file here."""
    words = ["cp", "--reflink=always", str(file), str(target)]
    return os.spawnvp(os.P_WAIT, "cp", words) == 0


@pytest.mark.parametrize("size", [4096, 65536])
def test_a_full_disk_is_told_and_leaves_nothing(world: World, tmp_path: Path, size: int) -> None:
    if not can_mount():
        pytest.skip("this user may not mount a small disk")
    (tmp_path / "disk").mkdir()
    found = world.prepared()

    def work() -> object:
        mount_small_disk(tmp_path / "disk", size)
        try:
            return world.create(tmp_path / "disk" / "ml", found=found)
        except Exception as error:
            return f"{error} {list((tmp_path / 'disk').iterdir())}"

    said = f"{tmp_path}/disk: no space left on the disk\n  try: free some, or name another path []"
    assert outcome(work) == said


def test_a_full_disk_changes_nothing(world: World, tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("this user may not mount a small disk")
    (tmp_path / "disk").mkdir()
    root, everything = tmp_path / "disk" / "ml", world.wheels
    world.wheels = everything[1:]
    before = world.order(root)
    world.wheels = everything
    after = world.order(root)

    def work() -> object:
        mount_small_disk(tmp_path / "disk", 1 << 20)
        create(before, root, Linker())
        with (root / "mine").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"\0" * 4096):
                pass
        try:
            return change(root, after, Linker())
        except Exception as error:
            found = differences(root, read_files(root))
            return f"{error} {found.damaged} {found.added}"

    said = "no space left on the disk\n  try: free some, or make it anew elsewhere () ('mine',)"
    assert outcome(work) == f"{root}: {said}"
