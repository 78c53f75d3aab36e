"""Ecosystems: the registered ones do all that is asked of one, and the matrix names the same."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.ecosystems.directory import DirectorySink
from mlruntime.ecosystems.place import Place
from mlruntime.ecosystems.registered import ECOSYSTEMS
from mlruntime.errors import InvalidLock, Unavailable
from mlruntime.fetch.downloads import Fetcher
from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources
from mlruntime.lock.packages import Artifact
from mlruntime.matrix.origins import ORIGINS
from mlruntime.store.store import Store

from tests.unit.channels import Member, Package
from tests.unit.debs import deb
from tests.unit.wheels import made_wheel

PACKAGE = Path(__file__).parents[3] / "builder" / "mlruntime"
NOWHERE = Sources(indexes=(), maven="https://maven.example.org", debian=())


def artifact(kind: str, name: str, path: Path) -> Artifact:
    content = path.read_bytes()
    return Artifact(
        kind=kind,
        name=name,
        version="1",
        filename=path.name,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        origin=kind,
    )


def a_wheel(folder: Path) -> tuple[Artifact, Path]:
    path = made_wheel(folder, "toy", {"toy.py": "answer = 42\n"})
    return artifact("wheel", "toy", path), path


def a_jar(folder: Path) -> tuple[Artifact, Path]:
    path = folder / "toy-1.jar"
    path.write_bytes(b"a jar")
    return artifact("jar", "g:toy", path), path


def a_deb(folder: Path) -> tuple[Artifact, Path]:
    return deb(folder, "toy", {"./usr/bin/toy": b"#!/bin/sh\n"})


def a_conda_package(folder: Path) -> tuple[Artifact, Path]:
    package = Package(name="toy", files={"share/toy": Member(content=b"x")})
    path = folder / package.filename
    path.write_bytes(package.bytes())
    found = artifact("conda", "toy", path)
    return replace(found, origin="conda:linux-64:https://conda.example.org/toys"), path


INSTALLED: dict[str, tuple[Callable[[Path], tuple[Artifact, Path]], str]] = {
    "pypi": (a_wheel, "env/lib/python3.13/site-packages/toy.py"),
    "maven": (a_jar, "env/jars/toy-1.jar"),
    "debian": (a_deb, "usr/bin/toy"),
    "conda": (a_conda_package, "opt/conda/share/toy"),
}


ADDRESSES = {
    "maven": "/g/toy/1/toy-1.jar",
    "conda": "https://conda.example.org/toys/linux-64/toy-1.0-0.conda",
}


def test_the_matrix_knows_the_ecosystems_that_are_registered() -> None:
    assert list(ECOSYSTEMS) == list(ORIGINS)
    assert all(origin == one.origin for origin, one in ECOSYSTEMS.items())


@pytest.mark.parametrize("origin", ECOSYSTEMS)
def test_each_puts_its_packages_into_a_place(origin: str, tmp_path: Path) -> None:
    make, path = INSTALLED[origin]
    place = Place(prefix="env", interpreter="/env/bin/python", python="3.13", jars="env/jars")
    root = tmp_path / "root"
    root.mkdir()
    package = make(tmp_path)
    with DirectorySink(root) as sink:
        ECOSYSTEMS[origin].install(sink, place, [package])
        assert (root / path).is_file()
        with pytest.raises((InvalidLock, FileExistsError)):
            ECOSYSTEMS[origin].install(sink, place, [package])


@pytest.mark.parametrize("origin", ECOSYSTEMS)
def test_each_says_where_an_artifact_is_and_what_to_try(origin: str, tmp_path: Path) -> None:
    make, _ = INSTALLED[origin]
    wanted, _ = make(tmp_path)
    with Web(NOWHERE) as web:
        locator = ECOSYSTEMS[origin].locator(NOWHERE, web)
        assert locator.hint
        try:
            urls = locator.urls(wanted)
        except Unavailable as error:
            assert "no Debian archive is configured" in error.what
        else:
            assert all(url.endswith(ADDRESSES[origin]) for url in urls)


def test_an_origin_that_nobody_has_registered_is_told(tmp_path: Path) -> None:
    wanted, _ = a_jar(tmp_path)
    with pytest.raises(InvalidLock, match="has an unknown origin: jar") as caught:
        Fetcher(Store(tmp_path / "store"), NOWHERE, {"conda": ECOSYSTEMS["maven"].locator}).fetch(
            wanted
        )
    assert caught.value.hint == "known: conda"


def test_an_ecosystem_is_told_by_its_word_in_its_own_folder_alone() -> None:
    """Elsewhere nothing is compared with it: that is how another one can be added."""
    word = re.compile(r"""[=!]=\s*["'](debian|pypi|maven)["']""")
    for path in sorted(PACKAGE.rglob("*.py")):
        # Whether this host is Debian, and whose proxies and logins count, is another matter.
        if "host/settings" in path.as_posix() or path.name == "routes.py":
            continue
        assert not word.search(path.read_text(encoding="utf-8")), path
