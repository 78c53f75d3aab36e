"""The stages of ``matrix explore`` on this host, as far as they go without a cluster."""

from pathlib import Path
from typing import Any, NoReturn

import pytest
from mlruntime.definitions.files import Definitions
from mlruntime.engine.docker.connection import first_of
from mlruntime.engine.docker.endpoint import Endpoint
from mlruntime.errors import InvalidLock, Unavailable
from mlruntime.explore.stages import HostStages, Trial
from mlruntime.explore.sweep import EngineImage
from mlruntime.store.store import Store
from mlruntime.workflows.host import Host
from mlruntime.workflows.inputs import read_matrix, read_runtime
from mlruntime.workflows.planning import planned_image

from tests.unit.cli.test_cli_errors import lock
from tests.unit.cli.test_cli_errors import root as root
from tests.unit.stub_engine import StubEngine, classic

IMAGE = "sha256:" + "1" * 64


class ChecksError(Exception):
    """Here the checks would begin."""


def begins(*_: object) -> NoReturn:
    raise ChecksError


def answers(labels: dict[str, str] | None) -> dict[str, Any]:
    """An engine that has one image, or none."""
    image = {"Id": IMAGE, "RepoTags": [], "Size": 1, "RootFS": {"Layers": []},
             "Config": {"Labels": labels, "User": "", "Env": []}}  # fmt: skip
    return classic() | ({f"/images/{IMAGE}/json": image} if labels is not None else {})


def validated(root: Path, labels: dict[str, str] | None) -> None:
    definitions = Definitions(root)
    matrix = read_matrix(definitions)
    socket = root.parent / "e.sock"
    socket.unlink(missing_ok=True)
    with (
        StubEngine(socket, answers(labels)),
        first_of([Endpoint(host=f"unix://{socket}", source="test")]) as engine,
    ):
        host = Host(store=Store(root.parent / "store"), fetch=begins, registries=begins,
                    engine=lambda: engine, say=lambda _: None)  # fmt: skip
        stages = HostStages(
            definitions=definitions,
            matrix=matrix,
            base=read_runtime(definitions, "0.1-ml", matrix),
            # What looks at the image itself is not among the checks that count.
            trial=Trial(variant="cpu", workers=2, only=("spark",)),
            host=host,
            registries=None,  # type: ignore[arg-type]
            observer=begins,
        )
        built = EngineImage(image=IMAGE, digest=IMAGE)
        stages.validate(lock(root), built, lambda _: None)


def test_an_image_of_another_plan_is_refused_as_validate_does(root: Path) -> None:
    label = "io.mlruntime.plan.digest"
    with pytest.raises(ChecksError):
        validated(root, {label: planned_image(Definitions(root), lock(root), "cpu").digest})
    for labels in ({label: "sha256:" + "0" * 64}, {}):
        with pytest.raises(InvalidLock, match="is not what the definitions describe now") as caught:
            validated(root, labels)
        assert caught.value.exit_code == 4
    with pytest.raises(Unavailable, match="has gone from the engine"):
        validated(root, None)
