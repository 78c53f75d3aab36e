"""conda-lock's files: its own library reads what we write, and we read what it writes."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.errors import InvalidLock
from mlruntime.lock.conda_lock import (
    LockedPackage,
    conda_packages,
    of_wheel,
    read_conda_lock,
    write_conda_lock,
)
from mlruntime.lock.packages import Artifact, CondaPackage

CHANNEL = "https://conda.example.org/toys"


def artifact(kind: str, name: str, origin: str) -> Artifact:
    filename = f"{name}-1.0-0.conda" if kind == "conda" else f"{name}-1.0-py3-none-any.whl"
    return Artifact(
        kind=kind,
        name=name,
        version="1.0",
        filename=filename,
        size=7,
        sha256="a" * 64,
        origin=origin,
    )


NUMPY = CondaPackage(
    artifact=artifact("conda", "numpy", "conda:linux-64:toys"),
    build="py311_0",
    md5="b" * 32,
    depends=("python >=3.11,<3.12.0a0", "libblas", "__glibc >=2.17"),
)
PACKAGES = (
    *conda_packages([NUMPY], lambda a: f"{CHANNEL}/linux-64/{a.filename}"),
    of_wheel(artifact("wheel", "keras", "pypi"), "https://example.org/keras.whl", ["numpy"]),
)
TEXT = write_conda_lock(PACKAGES, ["toys"])


# conda-lock's imports want subprocess whole, and it brings parts of conda that warn.
@pytest.mark.starts
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_conda_lock_reads_what_we_write(tmp_path: Path) -> None:
    from conda_lock.lockfile import parse_conda_lock_file, write_conda_lock_file

    path = tmp_path / "conda-lock.yml"
    path.write_text(TEXT)
    found = parse_conda_lock_file(path)
    assert [(p.manager, p.name, p.version) for p in found.package] == [
        ("conda", "numpy", "1.0"),
        ("pip", "keras", "1.0"),
    ]
    numpy, keras = found.package
    assert numpy.dependencies == {"python": ">=3.11,<3.12.0a0", "libblas": ""}
    assert (numpy.hash.md5, numpy.hash.sha256, numpy.build) == ("b" * 32, "a" * 64, "py311_0")
    assert keras.url == "https://example.org/keras.whl"
    # And back: its own writer's file, read by us.
    again = tmp_path / "again.yml"
    write_conda_lock_file(found, again, metadata_choices=None)
    read = read_conda_lock(again.read_text(), file="again.yml")
    assert read.channels == ("toys",)
    ordered = tuple(sorted(PACKAGES[0].dependencies))  # as it writes them
    assert read.packages == (replace(PACKAGES[0], dependencies=ordered), PACKAGES[1])


def test_what_we_write_we_read() -> None:
    found = read_conda_lock(TEXT, file="x")
    assert found.packages == PACKAGES
    assert write_conda_lock(found.packages, found.channels) == TEXT
    assert write_conda_lock(reversed(PACKAGES), ["toys"]) == TEXT


def test_a_package_without_an_md5_is_told() -> None:
    with pytest.raises(InvalidLock, match="has no MD5"):
        conda_packages([replace(NUMPY, md5="")], lambda _: "x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "expected a mapping"),
        (TEXT.replace("version: 1\n", "version: 2\n"), "version"),
        (TEXT.replace("sha256: " + "a" * 64, "sha256: aa", 1), "'aa' is not a sha256"),
        (TEXT.replace("    sha256: " + "a" * 64 + "\n", "", 1), "numpy has no sha256"),
        (TEXT.replace("manager: conda", "manager: apt"), "manager"),
        (TEXT.replace("optional: false", "optionl: false", 1), "optionl"),
    ],
)
def test_what_is_no_conda_lock_file_says_where(text: str, said: str) -> None:
    with pytest.raises(InvalidLock) as caught:
        read_conda_lock(text, file="conda-lock.yml")
    assert "conda-lock.yml" in str(caught.value.where)
    assert said in str(caught.value)


@given(st.text(max_size=200))
def test_noise_is_refused(text: str) -> None:
    with pytest.raises(InvalidLock):
        read_conda_lock(text, file="x")


@given(
    name=st.text(min_size=1, max_size=9),
    version=st.sampled_from(["1", "1.10", "1e3", "no", "0x1", "2024-01-01", "~"]),
)
def test_any_name_and_version_comes_back(name: str, version: str) -> None:
    if not name.strip() or not name.isprintable():
        return
    package = LockedPackage(manager="pip", name=name, version=version, url="u", sha256="c" * 64)
    assert read_conda_lock(write_conda_lock([package], []), file="x").packages == (package,)
