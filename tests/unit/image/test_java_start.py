"""`/opt/java/bin/java`: Java with the parallel collector, unless somebody chose another one."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "images/rootfs/settings/opt/java/bin/java"
pytestmark = pytest.mark.starts
PARALLEL = "-XX:+UseParallelGC"


def started(root: Path, *words: str, linked: bool = False, **environment: str) -> list[str]:
    """Run the script in a tree like the image's; return the words that Java is started with."""
    real = root / "jvm"
    (real / "bin").mkdir(parents=True)
    (real / "lib").mkdir()
    (real / "bin/java").write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
    (real / "bin/java").chmod(0o755)
    home = root / "opt/java"
    (home / "bin").mkdir(parents=True)
    (home / "lib").symlink_to(real / "lib")
    shutil.copy(SCRIPT, home / "bin/java")
    link = root / "usr/bin/java"  # as in an image that is made from one of ours
    link.parent.mkdir(parents=True)
    link.symlink_to(home / "bin/java")
    (root / "usr/lib").mkdir()
    done = subprocess.run(
        [str(link if linked else home / "bin/java"), *words], timeout=60,
        capture_output=True, text=True, check=True, env={"PATH": os.defpath, **environment},
    )  # fmt: skip
    program, *found = done.stdout.splitlines()
    assert Path(program).resolve() == real / "bin/java"
    return found


def test_the_parallel_collector_is_the_default(tmp_path: Path) -> None:
    words = ["-Xmx1g", "-cp", "a b/*", "Main", "--conf", "x.extraJavaOptions=-XX:+UseG1GC"]
    assert started(tmp_path, *words) == [PARALLEL, *words]


@pytest.mark.parametrize(
    "word", ["-XX:+UseG1GC", "-XX:+UseZGC", PARALLEL, "@options", "-XX:Flags=f"]
)
def test_a_collector_that_is_chosen_stays_the_only_one(tmp_path: Path, word: str) -> None:
    assert started(tmp_path, "-Xmx1g", word, "Main") == ["-Xmx1g", word, "Main"]


def test_a_link_to_it_starts_the_same(tmp_path: Path) -> None:
    assert started(tmp_path, "Main", linked=True) == [PARALLEL, "Main"]


@pytest.mark.parametrize("name", ["JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS"])
def test_a_collector_that_a_variable_chooses(tmp_path: Path, name: str) -> None:
    assert started(tmp_path, "Main", **{name: "-Da=b -XX:+UseSerialGC"}) == ["Main"]


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_has_no_objection() -> None:
    done = subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
