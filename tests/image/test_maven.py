"""Maven itself, asked now: what it resolves is what we resolve, from the same repository."""

import shutil
from pathlib import Path

import pytest
from mlruntime.fetch.web import Web
from mlruntime.workflows.store.stores import host_sources

from tests.maven_judge import CASES, LARGE, Poms, by_maven, by_us

pytestmark = [
    pytest.mark.extra,
    pytest.mark.skipif(shutil.which("mvn") is None, reason="needs Maven"),
]


@pytest.mark.parametrize("case", [*CASES, *LARGE])
def test_what_maven_says_now(case: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    repository: Path = tmp_path_factory.getbasetemp() / "maven"
    coordinates = {**CASES, **LARGE}[case]
    sources = host_sources()
    with Web(sources) as web:
        assert by_us(coordinates, Poms(web, sources.maven)) == by_maven(coordinates, repository)
