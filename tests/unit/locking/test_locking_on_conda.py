"""Wheels on top of conda packages: resolved by uv itself, and nothing of a channel moves."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlruntime.ecosystems.native.inputs import BuildEnvironment
from mlruntime.ecosystems.pypi.resolver import Resolver, Target
from mlruntime.errors import NoCompatibleVersions
from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources
from mlruntime.lock.packages import Artifact, CondaPackage
from mlruntime.locking.channels import CondaSide, python_packages
from mlruntime.locking.request import LockRequest
from mlruntime.locking.variants import PythonSide

from tests.unit.servers import SNAPSHOT, Server, serving

pytestmark = pytest.mark.starts


def conda(name: str, version: str, *depends: str) -> CondaPackage:
    artifact = Artifact(
        kind="conda",
        name=name,
        version=version,
        filename=f"{name}-{version}-0.conda",
        size=1,
        sha256=f"{len(name):064x}",
        origin="conda:linux-64:toys",
    )
    return CondaPackage(artifact=artifact, build="0", md5="", depends=depends)


CONDA = CondaSide(
    common=(
        conda("python", "3.11.9"),
        conda("numpy", "1.26.4", "python >=3.11,<3.12.0a0", "libblas"),
        conda("libblas", "3.9.0"),
        conda("odd", "9e", "python"),
    )
)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as state:
        state.project("numpy", "1.26.4", "2.0.2")
        state.project("keras", "2.15.0", requires=("numpy>=1.20",))
        state.project("modern", "1.0", requires=("numpy>=2",))
        yield state


def wheels(tmp_path: Path, server: Server, *python: str) -> list[tuple[str, str]]:
    sources = Sources(indexes=(f"{server.url}/simple/",), maven="", debian=())
    request = LockRequest(
        runtime="0.1-ml",
        snapshot=SNAPSHOT,
        variants=("cpu",),
        versions=(),
        wanted=(),
        python=python,
        debian=(),
        channels=("toys",),
    )
    with Web(sources) as web:
        side = PythonSide(
            request=request,
            recipes={},
            compiler=Resolver(
                sources=sources,
                web=web,
                target=Target(python="3.11.9", glibc=(2, 36)),
                snapshot=SNAPSHOT,
                scratch=tmp_path,
                environ=dict(os.environ) | {"UV_CACHE_DIR": str(tmp_path / "cache")},
            ),
            build_environment=BuildEnvironment(os=(), build_depends=(), python="3.11"),
            unpacked={},
            conda=CONDA,
        )
        (variant,) = side.variants(lambda _: None)
    return [(wheel.name, wheel.version) for wheel in variant.python]


def test_what_a_channel_brought_is_not_installed_again(tmp_path: Path, server: Server) -> None:
    assert wheels(tmp_path, server, "keras") == [("keras", "2.15.0")]


def test_what_does_not_fit_it_is_refused(tmp_path: Path, server: Server) -> None:
    with pytest.raises(NoCompatibleVersions, match=r"numpy"):
        wheels(tmp_path, server, "modern")


def test_only_python_packages_with_versions_of_an_index_count() -> None:
    assert python_packages(CONDA.common) == {"numpy": "1.26.4"}
    assert CONDA.python == "3.11.9"
