"""Images broken on purpose: each must be refused, by the check that is there for it."""

import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import pytest
from mlruntime import __version__
from mlruntime.build.context import BuildContext
from mlruntime.build.stage import build
from mlruntime.cli import main
from mlruntime.cluster.containers import ContainerClusters
from mlruntime.ecosystems.pypi.resolver import Target
from mlruntime.engine import Engine, owner
from mlruntime.fetch.web import Web
from mlruntime.image.image import Image, load
from mlruntime.image.layout_writing import write_layout
from mlruntime.image.plan import Plan
from mlruntime.image.sources.literal import File, LiteralFiles
from mlruntime.image.sources.model import PlannedLayer, layer_key
from mlruntime.image.sources.python import PythonPackages
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact
from mlruntime.locking.registries import HostRegistries
from mlruntime.store.store import Store
from mlruntime.validation.catalog import CHECKS
from mlruntime.validation.report import CheckResult, Report
from mlruntime.validation.session import Subject, validate
from mlruntime.workflows.store.stores import host_sources, store_root

from tests.conftest import CHECKOUT, RUNTIME, Runtime, copied, plan_of, read_lock, relock
from tests.sabotage.removal import Removal

pytestmark = pytest.mark.cluster

SITE = "opt/ml/lib/python3.11/site-packages"


@dataclass
class Observer:
    """Notes what fails; ``on_start`` may interfere."""

    on_start: Callable[[str], None] = lambda name: None
    results: dict[str, CheckResult] = field(default_factory=dict)

    def started(self, name: str) -> None:
        self.on_start(name)

    def ended(self, result: CheckResult) -> None:
        self.results[result.name] = result

    def waiting(self, name: str | None, seconds: float) -> None: ...


class Saboteur:
    """Builds broken images from the real one, and validates them."""

    def __init__(self, engine: Engine, store: Store, runtime: Runtime, shop: BuildContext) -> None:
        self.engine = engine
        self.store = store
        self.runtime = runtime
        self.shop = shop
        self.references: list[str] = []

    def image(self, name: str, plan: Plan, lock: Lock | None = None) -> Image:
        reference = f"mlruntime/sabotage-{os.getpid()}:{name}"
        made = build(
            plan,
            lock or self.runtime.lock,
            self.shop,
            reference=reference,
            created="1980-01-01T00:00:00Z",
        )
        load(made, self.store, self.engine)
        self.references.append(reference)
        return made

    def validate(self, image: str, *only: str, **changes: object) -> Report:
        subject = Subject(
            image=image,
            lock=self.runtime.lock,
            variant="cpu",
            libraries={"sparkdl": __version__},
        )
        observer = changes.pop("observer", None) or Observer()
        return validate(
            ContainerClusters(self.engine),
            replace(subject, **changes),  # type: ignore[arg-type]
            CHECKS,
            only=only,
            observer=observer,  # type: ignore[arg-type]
        )

    def clear(self) -> None:
        for reference in self.references:
            self.engine.remove_image(reference)


AnySaboteur = TypeVar("AnySaboteur", bound=Saboteur)


def at_work(made: AnySaboteur) -> Iterator[AnySaboteur]:
    """Lend a saboteur; afterwards its images are gone, and nothing of ours is left."""
    before = {thing.id for thing in made.engine.owned()}
    yield made
    made.clear()
    assert [thing for thing in made.engine.owned() if thing.id not in before] == []


@pytest.fixture
def saboteur(
    engine: Engine, store: Store, runtime: Runtime, shop: BuildContext
) -> Iterator[Saboteur]:
    yield from at_work(Saboteur(engine, store, runtime, shop))


def failed(report: Report) -> dict[str, str]:
    return {c.name: c.error or "" for c in report.checks if c.status == "failed"}


def with_files(plan: Plan, name: str, *files: File) -> Plan:
    """Put one more layer of plain files on top."""
    return replace(plan, layers=(*plan.layers, LiteralFiles(files=files).layer(name)))


def with_wheel(plan: Plan, wheel: Artifact) -> Plan:
    """Put another version of a package in the place of the locked one."""

    def swapped(layer: PlannedLayer) -> PlannedLayer:
        content = layer.content
        if not isinstance(content, PythonPackages) or wheel.name not in {
            a.name for a in content.wheels
        }:
            return layer
        wheels = tuple(wheel if a.name == wheel.name else a for a in content.wheels)
        key = layer_key("sabotage", [layer.key, wheel.sha256])
        return replace(layer, content=replace(content, wheels=wheels), key=key)

    return replace(plan, layers=tuple(swapped(layer) for layer in plan.layers))


def wheel_of(requirement: str, store: Store) -> Artifact:
    """Ask PyPI for one wheel that fits the image."""
    sources = host_sources()
    with store.scratch() as scratch, Web(sources) as web:
        registries = HostRegistries(
            sources=sources, web=web, store=store, scratch=scratch, environ=os.environ
        )
        target = Target(python="3.11.2", glibc=(2, 36))
        found = registries.compiler(target, "2026-11-20T00:00:00Z").compile((requirement,))
    name = requirement.partition("==")[0]
    return next(artifact for artifact in found if artifact.name == name)


def test_numpy_of_the_wrong_major(saboteur: Saboteur, store: Store) -> None:
    plan = with_wheel(saboteur.runtime.plan, wheel_of("numpy==2.1.3", store))
    image = saboteur.image("numpy", plan)
    report = saboteur.validate(image.config.digest, "identity.pip", "tensorflow.gradient")
    found = failed(report)
    assert set(found) == {"identity.pip", "tensorflow.gradient"}
    assert "numpy" in found["identity.pip"]
    assert report.exit_code == 7


@pytest.mark.extra
def test_horovod_compiled_against_another_tensorflow(saboteur: Saboteur, tmp_path: Path) -> None:
    root = copied(tmp_path / "other")
    path = root / "runtimes" / RUNTIME / "runtime.yaml"
    text = path.read_text(encoding="utf-8")
    for component in ("tensorflow", "keras"):
        text = text.replace(f'{component}: "==2.15.*"', f'{component}: "==2.14.*"')
    # The patched one is for TensorFlow 2.15 and later.
    text = re.sub(r'horovod: "==0.28.1\+mlr.*"', 'horovod: "===0.28.1"', text)
    # That one is for CUDA 11: without the gpu variant.
    text = text.replace("variants: [cpu, gpu]", "variants: [cpu]")
    text = re.sub(r"^(gpu:\n(  .*\n)+|  (cuda|cudnn|nccl): .*\n)", "", text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")
    relock(root)
    other, other_lock = plan_of(root), read_lock(root)
    saboteur.image("tensorflow-2.14", other, other_lock)
    horovod = next(layer for layer in other.layers if layer.name == "horovod")
    plan = saboteur.runtime.plan
    mixed = tuple(horovod if layer.name == "horovod" else layer for layer in plan.layers)
    image = saboteur.image("horovod", replace(plan, layers=mixed))
    report = saboteur.validate(image.config.digest, "horovod.built", "tensorflow.gradient")
    assert set(failed(report)) == {"horovod.built"}


def published(lock: Lock, store: Store, path: str) -> tuple[File, File]:
    """Return a module of Horovod as published, and nothing in the place of its bytecode."""
    wheel = next(one for one in lock.variant("cpu").native if one.name == "horovod")
    blob = store.blob(wheel.sdist.sha256)
    assert blob is not None
    with tarfile.open(blob) as archive:
        member = archive.extractfile(f"horovod-{wheel.sdist.version}/{path}")
        assert member is not None
        content = member.read()
    folder, _, name = path.rpartition("/")
    cached = f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-311.pyc"
    return (
        File(path=f"{SITE}/{path}", content=content),
        File(path=f"{SITE}/{cached}", content=b""),
    )


def test_horovod_as_published(saboteur: Saboteur, store: Store) -> None:
    """With Keras 2 each rank trains alone where a train_step applies its gradients itself."""
    files = published(saboteur.runtime.lock, store, "horovod/_keras/__init__.py")
    image = saboteur.image("published", with_files(saboteur.runtime.plan, "published", *files))
    report = saboteur.validate(image.config.digest, "horovod.keras", "horovod.train_step")
    found = failed(report)
    assert set(found) == {"horovod.train_step"}, found
    assert found["horovod.train_step"].startswith("digest.rank 1: got ")


def test_no_native_blas(saboteur: Saboteur) -> None:
    folder = "usr/lib/x86_64-linux-gnu"
    # On the same cluster: a zone that Java still knows, and the image's Spark defaults.
    gone = Removal(f"{folder}/openblas-serial", "usr/share/zoneinfo/US/Pacific")
    plan = saboteur.runtime.plan
    image = saboteur.image("blas", replace(plan, layers=(*plan.layers, gone.layer("no-blas"))))
    report = saboteur.validate(
        image.config.digest,
        "mllib.blas",
        "mllib.linear",
        "image",
        environment={"SPARK_CONF_DIR": "/tmp"},
    )
    found = failed(report)
    assert set(found) == {"mllib.blas", "image.zones", "image.defaults"}, "\n".join(found.values())
    assert "20:00:00" in found["image.zones"]


def test_one_worker_on_another_image(saboteur: Saboteur) -> None:
    other = with_files(
        saboteur.runtime.plan, "harmless", File(path="etc/motd", content=b"another\n")
    )
    image = saboteur.image("other", other)
    report = saboteur.validate(
        saboteur.runtime.image,
        "identity.image",
        "identity.pip",
        node_images={"worker-2": image.config.digest},
    )
    assert set(failed(report)) == {"identity.image"}
    assert "worker-2" in failed(report)["identity.image"]


def test_a_worker_with_another_version_of_one_package(saboteur: Saboteur, store: Store) -> None:
    plan = with_wheel(saboteur.runtime.plan, wheel_of("cloudpickle==3.0.0", store))
    image = saboteur.image("cloudpickle", plan)
    report = saboteur.validate(
        saboteur.runtime.image, "identity.nodes", node_images={"worker-2": image.config.digest}
    )
    assert set(failed(report)) == {"identity.nodes"}
    assert "cloudpickle" in failed(report)["identity.nodes"]
    assert "worker-2" in failed(report)["identity.nodes"]


IN_PROCESS = b'''
class HorovodRunner:
    """Like the open-source one: takes np, and runs main right here."""

    def __init__(self, *, np, driver_log_verbosity="log_callback_only"):
        self.np = np

    def run(self, main, **kwargs):
        return main(**kwargs)
'''


def test_a_horovodrunner_that_runs_in_process(saboteur: Saboteur) -> None:
    fake = File(path=f"{SITE}/sparkdl/__init__.py", content=IN_PROCESS)
    image = saboteur.image("runner", with_files(saboteur.runtime.plan, "in-process", fake))
    report = saboteur.validate(image.config.digest, "horovodrunner", "horovod.allreduce")
    found = failed(report)
    assert set(found) == {check.name for check in CHECKS if check.family == "horovodrunner"}


def forgetful(path: str, right: str, wrong: str) -> File:
    """Return one of the library's files with a mistake in it."""
    text = (CHECKOUT / "images" / "sparkdl" / "sparkdl" / path).read_text(encoding="utf-8")
    assert text.count(right) == 1, path
    return File(path=f"{SITE}/sparkdl/{path}", content=text.replace(right, wrong).encode())


def test_a_horovodrunner_that_forgets(saboteur: Saboteur) -> None:
    begin = "    session = _session.current()\n    if session is None:\n        return None\n"
    files = (
        # Every restart begins at the beginning, which gives the right weights, only late.
        forgetful("horovod/checkpoint.py", begin, "    return None\n"),
        # What ranks write is shown, but only rank 0's is kept.
        forgetful("_logs.py", "data[: max(0, self.limit - before)]", 'b"" if rank else data'),
        # Losses are rounded before they travel.
        forgetful("_progress.py", "number = float(value)", "number = round(float(value), 2)"),
    )
    image = saboteur.image("forgets", with_files(saboteur.runtime.plan, "forgets", *files))
    report = saboteur.validate(image.config.digest, "horovodrunner")
    found = failed(report)
    assert set(found) == {f"horovodrunner.{one}" for one in ("logs", "log_callback", "recovery")}
    assert found["horovodrunner.recovery"].startswith("went on from: got 0, want 4")
    assert found["horovodrunner.logs"].startswith("files: got ['rank-0.log'], want")
    assert found["horovodrunner.log_callback"].startswith("epoch: loss: ")


def test_a_check_whose_container_dies(saboteur: Saboteur, engine: Engine) -> None:
    def kill(name: str) -> None:
        if name == "spark.join":
            worker = next(
                thing
                for thing in engine.owned({owner.ROLE: "worker-1"})
                if thing.labels["mlruntime.pid"] == str(os.getpid())
            )
            engine.container(worker.name).kill()

    report = saboteur.validate(
        saboteur.runtime.image,
        "spark.aggregate",
        "spark.join",
        "spark.parquet",
        observer=Observer(on_start=kill),
    )
    found = failed(report)
    assert set(found) == {"spark.join", "spark.parquet"}
    assert all("worker-1 exited with 137" in error for error in found.values())


def test_a_corrupted_layer_blob(
    saboteur: Saboteur, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = saboteur.image("whole", saboteur.runtime.plan)
    layout = store.root / f"corrupt-{os.getpid()}"
    try:
        write_layout(image, store, layout)
        layer = next(i for i in image.layers if i.name == "sparkdl")
        path = layout / "blobs" / "sha256" / layer.blob.digest[7:]
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.unlink()  # it is a hard link into the store
        path.write_bytes(content)
        code = main(["--root", str(saboteur.runtime.root), "validate", str(layout)])
    finally:
        shutil.rmtree(layout)
    assert code == 5
    assert "layer 'sparkdl' is damaged" in capsys.readouterr().err


def test_a_graphframes_jar_for_another_scala(saboteur: Saboteur, engine: Engine) -> None:
    """Needs the real jars; where the Maven repository lacks them this is not run, and says so."""
    with tempfile.TemporaryDirectory(dir=store_root()) as folder:
        root = copied(Path(folder) / "root")
        path = root / "matrix.yaml"
        text = path.read_text(encoding="utf-8")
        swapped = text.replace(
            "graphframes-spark{spark.major}_{scala.minor}", "graphframes-spark{spark.major}_2.13"
        )
        assert swapped != text
        path.write_text(swapped, encoding="utf-8")
        relock(root)
        lock = read_lock(root)
        if lock.omitted:
            pytest.skip(f"not run: {lock.omitted[0].why}")
        plan = plan_of(root)
        image = saboteur.image("scala", plan, lock)
        report = saboteur.validate(image.config.digest, "graphframes", lock=lock)
        assert set(failed(report)) == {c.name for c in CHECKS if c.family == "graphframes"}
