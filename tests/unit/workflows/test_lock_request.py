"""What is asked of the ecosystems, from our own matrix and runtimes."""

from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.definitions.files import Definitions
from mlruntime.errors import InvalidDefinition
from mlruntime.locking.request import LockRequest, ask
from mlruntime.resolve.resolution import resolve
from mlruntime.workflows.inputs import read_matrix, read_runtime
from packaging.requirements import Requirement

DEFINITIONS = Definitions(root=Path(__file__).parents[3])
MATRIX = read_matrix(DEFINITIONS)
RUNTIME = read_runtime(DEFINITIONS, "6.0-ml", MATRIX)


def requested(*, python: str = "", debian: str = "") -> LockRequest:
    definition = replace(
        RUNTIME,
        python=(*RUNTIME.python, Requirement(python)) if python else RUNTIME.python,
        debian=(*RUNTIME.debian, debian) if debian else RUNTIME.debian,
    )
    return ask(MATRIX, definition, resolve(MATRIX, definition.request))


@pytest.mark.parametrize(
    ("line", "component"),
    [
        ("tensorflow==2.15.1", "tensorflow"),
        ("TensorFlow_CPU", "tensorflow"),
        ("nvidia-cudnn-cu12", "cudnn"),
        ("numpy<2", "numpy"),
    ],
)
def test_a_component_among_the_python_packages_is_refused(line: str, component: str) -> None:
    """It would be locked past the matrix: another tensorflow beside tensorflow-cpu."""
    with pytest.raises(InvalidDefinition) as caught:
        requested(python=line)
    assert f"is part of a component of the matrix, {component}" in caught.value.what
    assert caught.value.where == "runtimes/6.0-ml/runtime.yaml: python"
    assert f"`request:`, for example `{component}:" in str(caught.value.hint)
    assert caught.value.exit_code == 4


def test_so_is_one_among_the_debian_packages_whatever_its_version() -> None:
    with pytest.raises(InvalidDefinition, match="of the matrix, java") as caught:
        requested(debian="openjdk-21-jre-headless")
    assert caught.value.where == "runtimes/6.0-ml/runtime.yaml: debian"


def test_other_packages_are_asked_for_as_they_are() -> None:
    found = requested(python="docopt", debian="git")
    assert found.python[-1] == "docopt"
    assert found.debian[-1] == "git"
