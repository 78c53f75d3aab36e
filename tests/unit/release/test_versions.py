"""Versions follow from what changed between two locks."""

from dataclasses import replace

import pytest
from mlruntime.errors import (
    UsageError,
)
from mlruntime.release.versions import parse_version, step

from tests.unit.toys import lock_of


@pytest.mark.parametrize(
    ("components", "size"),
    [
        ({}, "none"),
        ({"spark": "3.5.10"}, "patch"),
        ({"spark": "3.6.0"}, "minor"),
        ({"spark": "4.0.0"}, "major"),
        ({"python": "3.12"}, "major"),
        ({"keras": "3.0"}, "minor"),  # it was not there before
    ],
)
def test_the_version_follows_from_what_changed(components: dict[str, str], size: str) -> None:
    before = lock_of()
    after = replace(
        before, components=tuple(sorted((dict(before.components) | components).items()))
    )
    assert step(before, after).size == size


def test_newer_dependencies_are_a_patch_and_are_named() -> None:
    before = lock_of()
    jar = replace(before.jars[0], version="2", sha256="f" * 64)
    found = step(before, replace(before, jars=(jar,)))
    assert (found.size, found.reasons) == ("patch", ("g:toy 1 → 2",))
    assert step(None, before).reasons == ("the first version",)


def test_versions_are_read_and_sorted() -> None:
    versions = [parse_version("6.0-ml", f"6.0.{n}-ml") for n in (10, 9)]
    assert [v.text for v in sorted(versions)] == ["6.0.9-ml", "6.0.10-ml"]
    assert versions[0].tag("cpu") == "6.0.10-ml-cpu"
    for wrong in ("6.1.0-ml", "6.0.x-ml", "6.0-ml", "6.0.1"):
        with pytest.raises(UsageError):
            parse_version("6.0-ml", wrong)
