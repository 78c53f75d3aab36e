"""GPU images broken on purpose: each must be refused, by the check that is there for it."""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime import __version__
from mlruntime.build import conflicts
from mlruntime.build.conflicts import site_key
from mlruntime.build.context import BuildContext
from mlruntime.cluster.containers import ContainerClusters
from mlruntime.cluster.gpus import Gpus
from mlruntime.engine import Engine
from mlruntime.image.plan import Plan
from mlruntime.image.sources.literal import File
from mlruntime.image.sources.model import PlannedLayer, layer_key
from mlruntime.image.sources.python import PythonPackages
from mlruntime.lock.model import Lock
from mlruntime.store.store import Store
from mlruntime.validation.catalog import CHECKS
from mlruntime.validation.report import Report
from mlruntime.validation.session import Subject, validate

from tests.conftest import GPU_RUNTIME, Runtime
from tests.sabotage.removal import Removal
from tests.sabotage.test_sabotage import Observer, Saboteur, at_work, failed, wheel_of, with_files

pytestmark = [pytest.mark.cluster, pytest.mark.extra]


class GpuSaboteur(Saboteur):
    """Puts what is wrong on top, over what is right: the large layers below stay as they are."""

    def __init__(self, engine: Engine, store: Store, runtime: Runtime, shop: BuildContext) -> None:
        super().__init__(engine, store, runtime, shop)
        self.looked_at: list[Path] = []

    @property
    def site(self) -> str:
        return f"opt/ml/lib/python{self.runtime.python}/site-packages"

    def refused(self, name: str, plan: Plan, lock: Lock | None = None) -> dict[str, str]:
        """Build the image and look at it without a GPU; return what failed, with why."""
        image = self.image(name, plan, lock)
        report = self.static(image.config.digest, lock or self.runtime.lock)
        assert report.exit_code == 7
        return failed(report)

    def static(self, image: str, lock: Lock) -> Report:
        subject = Subject(
            image=image,
            lock=lock,
            variant="gpu",
            workers=1,
            libraries={"sparkdl": __version__},
        )
        return validate(
            ContainerClusters(self.engine), subject, CHECKS, only=("static",), observer=Observer()
        )

    def over(self, layer: PlannedLayer) -> Plan:
        """Return the plan with one more layer on top.

        A build refuses two wheels with one file; the store says that these had been looked at.
        """
        top = replace(layer, name=f"wrong-{layer.name}")
        plan = replace(self.runtime.plan, layers=(*self.runtime.plan.layers, top))
        self.looked_at.append(self.store.write_record(conflicts.KIND, site_key(plan), ""))
        return plan

    def clear(self) -> None:
        super().clear()
        for record in self.looked_at:
            record.unlink(missing_ok=True)

    def wheel(self, requirement: str) -> Plan:
        """Return the plan with another version of a package over the locked one."""
        found = wheel_of(requirement, self.store)
        key = layer_key("sabotage", [found.sha256, self.runtime.python])
        content = PythonPackages(wheels=(found,))
        return self.over(PlannedLayer(name=found.name, key=key, content=content))


@pytest.fixture
def saboteur(
    engine: Engine, store: Store, gpu: Runtime, shop: BuildContext
) -> Iterator[GpuSaboteur]:
    yield from at_work(GpuSaboteur(engine, store, gpu, shop))


def test_the_real_image_is_not_refused(saboteur: GpuSaboteur) -> None:
    report = saboteur.static(saboteur.runtime.image, saboteur.runtime.lock)
    assert failed(report) == {}
    assert {c.status for c in report.checks} == {"passed"}
    assert len(report.checks) == len([c for c in CHECKS if c.family == "static"])


def test_cudnn_of_another_minor(saboteur: GpuSaboteur) -> None:
    found = saboteur.refused("cudnn", saboteur.wheel("nvidia-cudnn-cu12==9.3.0.75"))
    assert "static.versions" in found
    assert "cuDNN: got [9, 3], want [9, 28]" in found["static.versions"]


def test_a_cuda_library_missing(saboteur: GpuSaboteur) -> None:
    gone = Removal(f"{saboteur.site}/nvidia/cufft/lib/libcufft.so.11")
    found = saboteur.refused("cufft", saboteur.over(gone.layer("no-cufft")))
    assert set(found) == {"static.libraries"}
    assert "libcufft.so.11" in found["static.libraries"]


def test_nccl_of_another_cuda_major(saboteur: GpuSaboteur) -> None:
    found = saboteur.refused("nccl", saboteur.wheel("nvidia-nccl-cu11==2.21.5"))
    assert "NCCL: got [2, 21, 5]" in found["static.versions"]


def test_horovod_without_nccl(saboteur: GpuSaboteur, ready: Callable[..., Runtime]) -> None:
    cpu = ready(GPU_RUNTIME).plan
    horovod = next(layer for layer in cpu.layers if layer.name == "horovod")
    found = saboteur.refused("horovod", saboteur.over(horovod))
    assert set(found) == {"static.versions", "static.architectures"}
    assert "horovod" in found["static.architectures"]


def test_tensorflow_for_the_cpu(saboteur: GpuSaboteur, ready: Callable[..., Runtime]) -> None:
    cpu = ready(GPU_RUNTIME).plan
    tensorflow = next(layer for layer in cpu.layers if layer.name == "tensorflow")
    found = saboteur.refused("tensorflow", saboteur.over(tensorflow))
    assert "static.versions" in found
    assert "static.architectures" in found


def test_two_copies_of_libcudart(saboteur: GpuSaboteur) -> None:
    name = "nvidia-cuda-runtime-cu12"
    wheel = next(a for a in saboteur.runtime.lock.variant("gpu").python if a.name == name)
    path = saboteur.store.blob(wheel.sha256)
    assert path is not None
    with zipfile.ZipFile(path) as archive:
        content = archive.read("nvidia/cuda_runtime/lib/libcudart.so.12")
    copy = File(path="usr/local/lib/libcudart.so.12", content=content)
    found = saboteur.refused("cudart", with_files(saboteur.runtime.plan, "second-cudart", copy))
    assert set(found) == {"static.libraries"}
    assert "libcudart.so.12" in found["static.libraries"]


def test_a_promise_that_the_binaries_do_not_keep(saboteur: GpuSaboteur) -> None:
    lock = saboteur.runtime.lock
    variants = []
    for variant in lock.variants:
        if variant.contract is not None:
            more = ("5.0", *variant.contract.architectures)
            contract = replace(variant.contract, architectures=more)
            variant = replace(variant, contract=contract)
        variants.append(variant)
    promising = replace(lock, variants=tuple(variants))
    asked = promising.variant("gpu").contract
    assert asked is not None
    file = File(path="opt/ml/host-contract.json", content=asked.to_json().encode())
    found = saboteur.refused(
        "promise", with_files(saboteur.runtime.plan, "promise", file), promising
    )
    assert set(found) == {"static.architectures"}
    assert "5.0" in found["static.architectures"]


PRETENDING = b"""#!/bin/sh
echo '{"name": "gpu", "addresses": ["GPU-0"]}'
"""


def test_a_cluster_that_only_says_that_it_has_gpus(saboteur: GpuSaboteur) -> None:
    """Spark believes it, and hands out what is not there; no check on GPUs does."""
    script = File(path="opt/ml/bin/pretend", content=PRETENDING, executable=True)
    image = saboteur.image("pretend", with_files(saboteur.runtime.plan, "pretend", script))
    report = validate(
        ContainerClusters(saboteur.engine),
        Subject(
            image=image.config.digest,
            lock=saboteur.runtime.lock,
            variant="gpu",
            gpus=Gpus(each=1, script="/opt/ml/bin/pretend"),
        ),
        CHECKS,
        only=("gpu",),
        observer=Observer(),
    )
    assert set(failed(report)) == {check.name for check in CHECKS if check.family == "gpu"}
    assert report.exit_code == 7


def test_a_library_in_the_driver_s_place(saboteur: GpuSaboteur) -> None:
    stub = File(path="usr/local/cuda/lib64/stubs/libcuda.so", content=b"\x7fELF")
    found = saboteur.refused("stub", with_files(saboteur.runtime.plan, "stub", stub))
    assert set(found) == {"static.driver"}
    assert "stubs/libcuda.so" in found["static.driver"]
