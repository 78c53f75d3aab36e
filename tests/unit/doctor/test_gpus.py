"""Which GPUs can run which binaries."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.doctor.gpus import (
    Judgement,
    judge,
)
from mlruntime.host.gpus import (
    Device,
    HostGpus,
    NoGpus,
)
from mlruntime.lock.contract import HostContract, capability

from tests.unit.lock.test_contract import CONTRACT, contracts

A100 = Device(index=0, name="A100", uuid="GPU-a", memory_mib=40960, capability="8.0")
DRIVER = HostGpus(driver="550.54.14", cuda="12.5", devices=(A100,))


def judged(contract: HostContract = CONTRACT, **changes: object) -> Judgement:
    """Judge a host with the one device above, changed."""
    return judge(contract, replace(DRIVER, devices=(replace(A100, **changes),)))  # type: ignore[arg-type]


def words(judgement: Judgement) -> str:
    return "\n".join(
        f"{v.about}: {v.what}\n{v.why or ''}\n{v.hint or ''}" for v in judgement.verdicts
    )


@pytest.mark.parametrize(
    ("has", "able"),
    [
        ("8.0", True),
        ("8.6", True),  # machine code of the same major with a lower minor
        ("7.5", True),
        ("9.0", True),
        ("5.2", False),
        ("10.0", True),  # by PTX
        ("12.0", True),
    ],
)
def test_architectures(has: str, able: bool) -> None:
    assert judged(capability=has).able is able


def test_a_lower_minor_is_not_covered_by_a_higher_one() -> None:
    contract = replace(CONTRACT, architectures=("8.9",), ptx=())
    assert not judged(contract, capability="8.6").able
    assert judged(contract, capability="8.9").able


def test_ptx_needs_a_driver_for_its_toolkit_and_takes_time() -> None:
    able = judged(capability="10.0")
    assert "once the first start has compiled its kernels" in words(able)
    assert "CUDA_CACHE_PATH" in words(able)
    newer = replace(A100, capability="10.0")
    for cuda, said in (("12.4", "this one implements CUDA 12.4"), (None, "does not say which")):
        refused = judge(CONTRACT, replace(DRIVER, cuda=cuda, devices=(newer,)))
        assert not refused.able
        assert said in words(refused)
        assert "install a driver that implements CUDA 12.5" in words(refused)


def test_an_architecture_that_is_too_old_is_told_with_those_there_are() -> None:
    refused = words(judged(capability="3.7"))
    assert "machine code for 6.0, 7.0, 8.0, 9.0 and PTX for 9.0" in refused
    without = replace(CONTRACT, ptx=())
    assert "and PTX for none" in words(judged(without, capability="10.0"))


@pytest.mark.parametrize("driver", ["525.60.12", "470.57.02", "none"])
def test_a_driver_that_is_too_old_rules_out_every_device(driver: str) -> None:
    two = (A100, replace(A100, index=1, capability="3.7"))
    refused = judge(CONTRACT, replace(DRIVER, driver=driver, devices=two))
    assert not refused.able
    assert "a driver of the 525 branch" in words(refused)
    # What a new driver would not mend is told at once, and nothing is said to run.
    assert [v.about for v in refused.verdicts] == ["driver", "GPU 1 (A100)"]


@pytest.mark.parametrize("driver", ["525.60.13", "525.105.17", "550.54.14", "580"])
def test_drivers_that_are_new_enough(driver: str) -> None:
    assert judge(CONTRACT, replace(DRIVER, driver=driver)).able


def test_no_device() -> None:
    refused = judge(CONTRACT, replace(DRIVER, devices=()))
    assert not refused.able
    assert "docker run --gpus all" in words(refused)


def test_no_driver() -> None:
    refused = judge(CONTRACT, NoGpus(what="no driver answers", why="Not Loaded", hint="install"))
    assert not refused.able
    assert words(refused) == "GPUs: no driver answers\nNot Loaded\ninstall"


def test_memory() -> None:
    assert judged(memory_mib=4096).able
    refused = judged(memory_mib=4095)
    assert not refused.able
    assert "4095 MiB\nthe image asks for 4096 MiB\nuse a GPU with more" in words(refused)
    assert "use a larger slice" in words(judged(memory_mib=4095, mig=True))


def test_a_slice_is_one_rank() -> None:
    able = judged(mig=True, uuid="MIG-a")
    assert able.able
    assert "as one rank" in words(able)
    assert "NCCL does not reduce between MIG slices" in words(able)


def test_some_of_several() -> None:
    lost = Device(index=1, uuid="GPU-b", trouble="the driver has lost it: GPU is lost")
    found = judge(CONTRACT, replace(DRIVER, devices=(A100, lost)))
    assert found.able
    assert found.devices == (A100,)
    assert "GPU 1: cannot be used\nthe driver has lost it: GPU is lost\n" in words(found)
    assert "1 of 2 can run it" in words(found)
    assert "NVIDIA_VISIBLE_DEVICES=GPU-a" in words(found)
    assert not judge(CONTRACT, replace(DRIVER, devices=(lost,))).able


@given(contracts, st.from_regex(r"[1-9][0-9]?\.[0-9]", fullmatch=True))
def test_what_runs_runs_with_more_code_and_what_does_not_says_what_to_do(
    contract: HostContract, has: str
) -> None:
    device = replace(A100, capability=has, memory_mib=1 << 20)
    host = HostGpus(driver="9999", cuda="999", devices=(device,))
    found = judge(contract, host)
    major, minor = capability(has)
    sass = any(capability(a)[0] == major and capability(a)[1] <= minor
               for a in contract.architectures)  # fmt: skip
    assert found.able == (sass or any(capability(p) <= (major, minor) for p in contract.ptx))
    more = tuple(sorted({*contract.architectures, "9.9"}, key=capability))
    assert judge(replace(contract, architectures=more), host).able >= found.able
    assert all(verdict.able or verdict.hint for verdict in found.verdicts)
