"""Jars beside Spark's: what is missing, changed, or hides a class of another one."""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from mlruntime.validation.programs.jars import differing, repeated

STUB = "org/apache/spark/unused/UnusedStubClass.class"


def jar(path: Path, *names: str) -> str:
    """Write a jar with these entries; return its sha256."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, f"{path.name} {name}")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def wanted(tmp_path: Path) -> Mapping[str, str]:
    jar(tmp_path / "spark-1.jar", "s/A.class", STUB, "module-info.class", "META-INF/x/I.class")
    jar(tmp_path / "netty-1.jar", "n/A.class")
    names = ("d/A.class", STUB, "module-info.class", "META-INF/x/I.class", "LICENSE")
    return {
        "delta-1.jar": jar(tmp_path / "delta-1.jar", *names),
        "s3-1.jar": jar(tmp_path / "s3-1.jar", "a/A.class", "LICENSE"),
    }


def test_jars_that_are_as_locked(tmp_path: Path, wanted: Mapping[str, str]) -> None:
    assert differing(tmp_path, wanted) == []
    assert repeated(tmp_path, wanted) == []


def test_a_jar_that_is_missing_or_another_file(tmp_path: Path, wanted: Mapping[str, str]) -> None:
    (tmp_path / "s3-1.jar").unlink()
    jar(tmp_path / "delta-1.jar", "d/A.class", "d/B.class")
    assert differing(tmp_path, wanted) == ["delta-1.jar is another file", "s3-1.jar is not there"]


def test_a_class_that_is_in_another_jar_too(tmp_path: Path, wanted: Mapping[str, str]) -> None:
    """One of Spark's in a locked jar, one of a locked jar elsewhere, and one of two locked jars."""
    jar(tmp_path / "s3-1.jar", "a/A.class", "n/A.class", "n/B.class", "d/A.class")
    jar(tmp_path / "delta-2.jar", "d/A.class")
    jar(tmp_path / "netty-1.jar", "n/A.class", "n/B.class")
    assert repeated(tmp_path, wanted) == [
        "delta-1.jar and delta-2.jar both have d/A.class",
        "delta-1.jar and s3-1.jar both have d/A.class",
        "s3-1.jar and delta-2.jar both have d/A.class",
        "s3-1.jar and netty-1.jar both have n/A.class and 1 more",
    ]


def test_what_others_have_of_each_other_is_not_ours_to_judge(
    tmp_path: Path, wanted: Mapping[str, str]
) -> None:
    jar(tmp_path / "hive-1.jar", "s/A.class")
    assert repeated(tmp_path, wanted) == []
