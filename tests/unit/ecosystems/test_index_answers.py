"""What real uv makes of real indexes, and what we make of that: exit codes and sentences."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlruntime.ecosystems.pypi.resolver import Resolver, Target
from mlruntime.errors import (
    ArtifactNotFound,
    InvalidDefinition,
    MlruntimeError,
    NoCompatibleVersions,
    Unavailable,
)
from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources

from tests.unit.servers import AFTER, BEFORE, JSON, SNAPSHOT, Server, serving

pytestmark = pytest.mark.starts  # uv, on an index of this process


@pytest.fixture
def index() -> Iterator[Server]:
    with serving(Server()) as server:
        yield server


class Lock:
    """Resolves against some indexes, and keeps what was told."""

    def __init__(self, scratch: Path, cache: Path, *indexes: str) -> None:
        self.scratch, self.cache = scratch, cache
        self.sources = Sources(indexes=indexes, maven="", debian=())
        self.told: list[str] = []

    def __call__(self, *requirements: str) -> dict[str, str]:
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.scratch)}
        environ["UV_CACHE_DIR"] = str(self.cache)
        with Web(self.sources, pauses=()) as web:
            resolver = Resolver(
                sources=self.sources,
                web=web,
                target=Target(python="3.11.2", glibc=(2, 36)),
                snapshot=SNAPSHOT,
                scratch=self.scratch,
                environ=environ,
                tell=self.told.append,
            )
            return {a.name: a.version for a in resolver.compile(requirements)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What uv knows of this interpreter takes it half a second to find out."""
    return tmp_path_factory.mktemp("uv")


@pytest.fixture
def lock(tmp_path: Path, cache: Path, index: Server) -> Lock:
    return Lock(tmp_path, cache, f"{index.url}/simple/")


def refused(lock: Lock, *requirements: str) -> MlruntimeError:
    with pytest.raises(MlruntimeError) as caught:
        lock(*requirements)
    return caught.value


@pytest.mark.parametrize("html", [True, False], ids=["PEP 503", "JSON"])
def test_an_index_without_upload_times_is_no_missing_package(
    lock: Lock, index: Server, html: bool
) -> None:
    index.project("thing", "1", at=None, html=html)
    error = refused(lock, "thing==1")
    assert type(error) is Unavailable
    assert error.exit_code == 6
    assert error.what == (
        f"{index.url}/simple/ gives no upload times, so the snapshot can't be honoured"
    )
    assert SNAPSHOT in str(error)


def test_nor_is_one_where_only_a_requirement_has_none(lock: Lock, index: Server) -> None:
    index.project("thing", "1", requires=("inner>=1",))
    index.project("inner", "1", "2", at=None)
    error = refused(lock, "thing==1")
    assert type(error) is Unavailable
    assert "gives no upload times" in error.what
    assert error.where == "inner"


def test_only_a_name_that_no_index_lists_is_not_found(lock: Lock, index: Server) -> None:
    index.project("thing", "1", "2", requires=("nowhere",))
    error = refused(lock, "nosuch==1")
    assert type(error) is ArtifactNotFound
    assert error.what == "the package index does not have nosuch"
    for requirement, what in (
        ("thing==77", "the package index has thing, but not thing==77"),
        ("thing==1", "the package index does not have nowhere"),
    ):
        error = refused(lock, requirement)
        assert (type(error), error.what) == (Unavailable, what)


def test_a_release_after_the_snapshot_says_when_it_came(lock: Lock, index: Server) -> None:
    index.project("thing", "1", at=AFTER)
    error = refused(lock, "thing==1")
    assert type(error) is Unavailable
    assert error.what == "thing==1 was uploaded after the snapshot"
    assert "first on 2026-11-25" in str(error.why)


def test_packages_that_exclude_each_other_are_that(lock: Lock, index: Server) -> None:
    index.project("thing", "1", requires=("inner<2",))
    index.project("inner", "1", "2")
    assert type(refused(lock, "thing==1", "inner==2")) is NoCompatibleVersions


def test_a_yanked_release_is_told_with_its_reason(lock: Lock, index: Server) -> None:
    index.project("thing", "1", yanked="it eats files")
    assert lock("thing==1") == {"thing": "1"}
    (told,) = lock.told
    assert "thing==1" in told
    assert "yanked" in told
    assert "it eats files" in told


def test_an_extra_that_does_not_exist_is_told(lock: Lock, index: Server) -> None:
    index.project("thing", "1")
    assert lock("thing[gcs]==1") == {"thing": "1"}
    assert lock.told == ["thing==1 does not have an extra named gcs"]


def test_files_without_a_time_beside_others_are_told(tmp_path: Path, cache: Path) -> None:
    with serving(Server()) as half, serving(Server()) as whole:
        half.project("thing", "1")
        page = half.files["/simple/thing/"]
        half.project("thing", "2", at=None)
        undated = half.files["/simple/thing/"][1].partition(b'"files": [')[2].rpartition(b"]}")[0]
        kind, text = page
        half.put("/simple/thing/", text.replace(b"]}", b", " + undated + b"]}"), kind)
        whole.project("inner", "1")
        both = Lock(tmp_path, cache, f"{half.url}/simple/", f"{whole.url}/simple/")
        assert both("thing", "inner") == {"thing": "1", "inner": "1"}
        (told,) = both.told
        assert told.startswith(f"thing: {half.url}/simple/ gives no upload time")


def test_a_refusal_is_told_as_one(lock: Lock, index: Server) -> None:
    index.project("thing", "1")
    index.password = ("user", "secret")
    error = refused(lock, "thing==1")
    assert type(error) is Unavailable
    assert "HTTP status 401" in str(error)


def test_a_package_that_has_an_sdist_only_is_told_as_that(lock: Lock, index: Server) -> None:
    """As docopt; uv's own words about it are read, and may change with uv."""
    file = {"filename": "docopt-0.6.2.tar.gz", "url": "../files/docopt-0.6.2.tar.gz", "size": 9}
    file |= {"hashes": {"sha256": "0" * 64}, "upload-time": BEFORE, "yanked": False}
    page = {"meta": {"api-version": "1.1"}, "name": "docopt", "versions": ["0.6.2"]}
    index.put("/simple/docopt/", json.dumps(page | {"files": [file]}), JSON)
    index.project("pipreqs", "1", requires=("docopt",))
    for requirement in ("docopt", "pipreqs"):
        error = refused(lock, requirement)
        assert type(error) is InvalidDefinition
        assert error.what == "docopt has no wheel, and no recipe to build one"
        assert "images/docopt/recipe.yaml" in str(error.hint)
