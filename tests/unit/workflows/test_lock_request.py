"""What is asked of the ecosystems, from our own matrix and runtimes."""

from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.definitions.files import Definitions
from mlruntime.definitions.runtime import FlavourDefinition
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


def with_flavour(jars: tuple[str, ...]) -> LockRequest:
    flavour = FlavourDefinition(name="lake", summary="x", request=(), python=(), jars=jars)
    return ask(MATRIX, replace(RUNTIME, flavours=(flavour,)), resolve(MATRIX, RUNTIME.request))


def test_a_component_or_a_moving_version_among_the_jars_is_refused() -> None:
    with pytest.raises(InvalidDefinition, match="of the matrix, delta") as caught:
        with_flavour(("io.delta:delta-spark_2.12:3.2.0",))
    assert caught.value.where == "runtimes/6.0-ml/runtime.yaml: flavours.lake.jars"
    with pytest.raises(InvalidDefinition, match="not the version of a release") as caught:
        with_flavour(("a:b:1", "a:c:LATEST"))
    assert caught.value.where == "runtimes/6.0-ml/runtime.yaml: flavours.lake.jars[1]"
    with pytest.raises(InvalidDefinition, match="a:b is asked for twice"):
        with_flavour(("a:b:1", "a:b:2"))
    assert with_flavour(("a:b:1", "a:c:2:tests")).flavours[0].jars == ("a:b:1", "a:c:2:tests")


def test_an_artifact_of_some_releases_is_asked_for_with_those_only() -> None:
    """The AWS SDK has other names since version 2, and Delta Lake's jar says for which Spark."""
    found = {}
    for runtime in ("6.0-ml", "7.0-ml"):
        definition = read_runtime(DEFINITIONS, runtime, MATRIX)
        request = ask(MATRIX, definition, resolve(MATRIX, definition.request))
        (cloud,) = (flavour for flavour in request.flavours if flavour.name == "cloud")
        found[runtime] = {w.name: w.excludes for w in cloud.wanted if w.origin == "maven"}
    six, seven = found["6.0-ml"], found["7.0-ml"]
    assert "io.delta:delta-spark_2.12" in six and "io.delta:delta-spark_3.5_2.12" not in six
    assert "io.delta:delta-spark_4.1_2.13" in seven and "io.delta:delta-spark_2.13" not in seven
    assert {name.split(":")[0] for name in six} >= {"com.amazonaws", "org.apache.hadoop"}
    assert not any(name.startswith("software.amazon") for name in six)
    assert not any(name.startswith("com.amazonaws") for name in seven)
    assert seven["com.google.cloud.bigdataoss:gcs-connector:shaded"] == ("*:*",)


def test_so_is_one_among_the_debian_packages_whatever_its_version() -> None:
    with pytest.raises(InvalidDefinition, match="of the matrix, java") as caught:
        requested(debian="openjdk-21-jre-headless")
    assert caught.value.where == "runtimes/6.0-ml/runtime.yaml: debian"


def test_other_packages_are_asked_for_as_they_are() -> None:
    found = requested(python="docopt", debian="git")
    assert found.python[-1] == "docopt"
    assert found.debian[-1] == "git"
