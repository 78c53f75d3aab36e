"""A registry, a key and a toy image for each test of a release."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlruntime.release.documents import Candidate
from mlruntime.release.signing import SigningKey

from tests.unit.registries import Registry, running
from tests.unit.release.helpers import release
from tests.unit.toys import candidate, new_key


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running(Registry()) as found:
        yield found


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return new_key()


@pytest.fixture
def toy(tmp_path: Path) -> Candidate:
    return candidate(tmp_path / "store")


@pytest.fixture
def released(
    registry: Registry, toy: Candidate, key: SigningKey, tmp_path: Path
) -> Iterator[Registry]:
    release(registry, toy, key, tmp_path / "s")
    yield registry
