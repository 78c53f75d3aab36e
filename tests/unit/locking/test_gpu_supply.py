"""Which GPUs a cluster gets, and what is said when it gets none."""

import pytest
from mlruntime.cluster.gpus import NO_GPUS
from mlruntime.errors import UsageError
from mlruntime.host.gpus import (
    Device,
    HostGpus,
    NoGpus,
)
from mlruntime.lock.contract import HostContract
from mlruntime.workflows.gpus import supply

CONTRACT = HostContract(
    minimum_driver="525.60.13", cuda="12.5", architectures=("8.0",), ptx=(), memory_mib=8192
)


def host(*capabilities: str, driver: str = "550.54.14") -> HostGpus:
    devices = tuple(
        Device(index=i, name="A", uuid=f"GPU-{i}", memory_mib=40960, capability=c)
        for i, c in enumerate(capabilities)
    )
    return HostGpus(driver=driver, cuda="12.4", devices=devices)


def test_an_image_that_is_not_for_gpus_gets_none() -> None:
    assert supply(None, 2, host("8.0", "8.0")).gpus == NO_GPUS


def test_only_those_that_can_run_the_image_are_dealt_out() -> None:
    found = supply(CONTRACT, 2, host("3.7", "8.0", "8.6"))
    assert found.gpus.each == 1
    assert dict(found.gpus.devices) == {"worker-1": ("GPU-1",), "worker-2": ("GPU-2",)}
    assert found.why_no_more == "the cluster has 2"


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (NoGpus(what="no NVIDIA driver answers", why="not found"), "no NVIDIA driver answers"),
        (host(), "there is none"),
        (host("8.0", driver="470.57.02"), "470.57.02 is too old"),
        (host("3.7"), "is of an architecture that the image was not made for"),
    ],
)
def test_no_gpu_has_a_reason(there: HostGpus | NoGpus, why: str) -> None:
    found = supply(CONTRACT, 2, there)
    assert found.gpus == NO_GPUS
    assert why in found.why_no_more


def test_fewer_gpus_than_workers_are_refused() -> None:
    with pytest.raises(UsageError, match="2 workers, but this host has GPUs for 1"):
        supply(CONTRACT, 2, host("8.0"))
