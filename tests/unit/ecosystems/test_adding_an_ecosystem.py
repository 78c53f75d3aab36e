"""A new ecosystem is a folder of its own and a registration: nothing else has to know it."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlruntime.ecosystems.model import Reach
from mlruntime.ecosystems.place import image_place
from mlruntime.ecosystems.registered import ECOSYSTEMS, ecosystem_of
from mlruntime.errors import ArtifactNotFound, InvalidDefinition, InvalidLock
from mlruntime.image.plan import Plan, plan
from mlruntime.image.sizes import locked_sizes, sizes
from mlruntime.image.sources.ecosystem import EcosystemSource
from mlruntime.image.stack import parse_stack
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
from mlruntime.locking.flavours import with_flavours
from mlruntime.locking.request import FlavourRequest, LockRequest
from mlruntime.locking.staleness import stale_artifacts
from mlruntime.matrix.origins import ORIGINS, OriginTraits
from mlruntime.release.attribution import noted
from mlruntime.release.inside import NOTHING_INSIDE
from mlruntime.release.sbom import packages
from mlruntime.release.vex import package_urls

from tests.unit.ecosystems.toy import FOLDER, REGISTRY, Toy
from tests.unit.image.test_plan import FILES, TOOLS
from tests.unit.locking import test_locking_assemble as assembling
from tests.unit.locking.test_locking_assemble import ASKED, World, wanted, world

__all__ = ["world"]  # a fixture
BEAR = wanted("bear", "toy", "bear", "1")
SOURCE = EcosystemSource(name="toys", ecosystem="toy")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ORIGINS, "toy", OriginTraits())  # type: ignore[index]
    monkeypatch.setitem(ECOSYSTEMS, "toy", Toy())  # type: ignore[arg-type]


def asked(*more: Any) -> LockRequest:
    versions = (*ASKED.versions, *((one.component, one.version) for one in more))
    return replace(ASKED, wanted=(*ASKED.wanted, *more), versions=versions)


class Registries(World):
    """Those of another test, and how to reach any other."""

    def reach(self, snapshot: str) -> Reach:
        return Reach(sources=None, web=None, scratch=self.scratch, snapshot=snapshot)  # type: ignore[arg-type]


@pytest.fixture
def lock(world: World, tmp_path: Path) -> Lock:
    return locked(world, tmp_path)


def locked(world: World, scratch: Path, request: LockRequest | None = None, **words: Any) -> Lock:
    registries = Registries(debian=world.debian, pypi=world.pypi, maven=world.maven)
    registries.scratch = scratch / "scratch"  # type: ignore[attr-defined]
    (scratch / "scratch").mkdir(exist_ok=True)
    return assembling.locked(registries, request or asked(BEAR), **words)


def planned(lock: Lock, *more: EcosystemSource) -> Plan:
    stack = parse_stack(FILES["layers.yaml"].decode(), file="images/layers.yaml")
    stack = replace(stack, layers=(*stack.layers, *more))
    lock = replace(lock, components=(*lock.components, ("spark", "3.5.9")))
    return plan(lock, "cpu", stack, FILES, tools=TOOLS, version="1.0")


def test_its_packages_are_locked_with_what_they_need(lock: Lock) -> None:
    assert [(a.name, a.version, a.origin) for a in lock.packages] == [
        ("bear", "1", "toy:shelf"),
        ("box", "1", "toy:shelf"),
    ]
    assert parse_lock(lock.to_json(), file="lock.json") == lock
    assert '"format": 6' in lock.to_json()
    older = replace(lock, packages=lock.packages[:1])
    assert stale_artifacts(older, lock) == ("packages: box 1 needed, not locked",)


def test_a_lock_without_its_packages_is_as_it_was(world: World, tmp_path: Path) -> None:
    text = locked(world, tmp_path, ASKED).to_json()
    assert '"packages"' not in text and '"format": 2' in text


def test_what_it_does_not_have_may_be_left_out(world: World, tmp_path: Path) -> None:
    request = asked(BEAR, wanted("doll", "toy", "doll", "1"))
    with pytest.raises(ArtifactNotFound, match="no toy is called doll"):
        locked(world, tmp_path, request)
    lock = locked(world, tmp_path, request, omit=("doll",))
    assert [(o.component, o.artifact, o.why) for o in lock.omitted] == [
        ("doll", "toy:doll:1", "no toy is called doll")
    ]
    assert [a.name for a in lock.packages] == ["bear", "box"]


def test_what_a_lock_has_no_place_for_is_refused(world: World, tmp_path: Path, lock: Lock) -> None:
    request = replace(asked(wanted("bear", "toy", "bear", "1", "gpu")), variants=("cpu", "gpu"))
    with pytest.raises(InvalidDefinition, match="bear has toy packages in some variants only"):
        locked(world, tmp_path, request)
    flavour = FlavourRequest(name="play", versions=(), wanted=(BEAR,), python=())
    with pytest.raises(InvalidDefinition, match="which a flavour cannot add") as error:
        with_flavours(lock, replace(ASKED, flavours=(flavour,)), recipes={}, registries=world)
    assert error.value.where == "runtimes/6.0-ml/runtime.yaml: flavours.play"


def test_its_packages_are_in_a_layer_that_an_image_has(lock: Lock) -> None:
    made = planned(lock, SOURCE)
    (layer,) = (layer for layer in made.layers if layer.name == "toys")
    assert [a.name for a in layer.content.artifacts] == ["bear", "box"]
    assert {*lock.packages} <= {*made.artifacts}
    with pytest.raises(InvalidDefinition, match="no layer has the toy packages of 6") as error:
        planned(lock)
    assert error.value.hint and "{name: toy, source: ecosystem, ecosystem: toy}" in error.value.hint


@pytest.mark.parametrize("name", ["toi", "debian"])
def test_a_layer_of_no_such_ecosystem_is_refused(lock: Lock, name: str) -> None:
    with pytest.raises(InvalidDefinition, match=f"stands alone is called '{name}'"):
        planned(lock, EcosystemSource(name="toys", ecosystem=name))


def test_its_layer_is_written_and_says_whose_its_files_are(lock: Lock, tmp_path: Path) -> None:
    for artifact in lock.packages:
        (tmp_path / artifact.name).write_text(REGISTRY[artifact.name][0])
    supplies: Any = SimpleNamespace(
        install=lambda origin, sink, packages: ECOSYSTEMS[origin].install(
            sink, image_place("3.11"), [(one, tmp_path / one.name) for one in packages]
        )
    )
    (layer,) = (x for x in planned(lock, SOURCE).layers if x.name == "toys")
    made = io.BytesIO()
    writer = LayerWriter(made)
    layer.content.write(writer, supplies)
    writer.finish()
    owners = ecosystem_of(lock.packages[0]).owners()
    with tarfile.open(fileobj=io.BytesIO(made.getvalue())) as archive:
        files = noted(archive, [owners])
    assert {path: owners.owner(path) for path in files} == {
        f"{FOLDER}/bear": "toy:bear",
        f"{FOLDER}/box": "toy:box",
    }


def test_documents_have_its_packages(lock: Lock) -> None:
    found = {one.name: one for one in packages(lock, "cpu", {"toy:bear": ("MIT",)}, {})}
    assert found["bear"].purl == "pkg:generic/toy/bear@1?for=bears"
    assert found["bear"].licences == ("MIT",) and found["box"].licences == ()
    assert found["bear"].sha256 == lock.packages[0].sha256
    assert package_urls(lock, "cpu", NOTHING_INSIDE)["bear"] == {("bear", "pkg:generic/toy/bear@1")}


def test_sizes_have_its_packages(lock: Lock) -> None:
    made = planned(lock, SOURCE)
    found = sizes(
        made,
        blob=lambda _: None,
        unpacked=lambda artifact, has: ecosystem_of(artifact).size(artifact, None, has),
        compiled=lambda _: None,
        budget=None,
    )
    told = {p.name: (p.kind, p.layer, p.packed, p.unpacked) for p in found.packages}
    assert told["bear"] == ("toy", "toys", 6, 12)
    assert "box" in {p.name for p in locked_sizes(lock, "cpu").packages}


def test_a_lock_of_an_ecosystem_that_is_not_there_says_so(lock: Lock) -> None:
    (bear, _) = lock.packages
    with pytest.raises(InvalidLock, match="'moon', which is no ecosystem"):
        ecosystem_of(replace(bear, origin="moon:shelf"))
