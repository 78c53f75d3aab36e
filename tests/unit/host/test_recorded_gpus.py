"""Hosts with real GPUs, as ``python -m tests.gpu.record`` kept them, replayed on a stub of NVML."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlruntime.doctor.gpus import judge
from mlruntime.host.gpus import Device, HostGpus
from mlruntime.lock.contract import parse_contract

from tests.stubs import build_stub

RECORDED = sorted((Path(__file__).parents[2] / "gpu" / "recorded").glob("*.json"))
RUNTIMES = ("6.0-ml", "7.0-ml")


@pytest.fixture(params=RECORDED, ids=lambda file: file.stem)
def recorded(request: pytest.FixtureRequest) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(request.param.read_text())
    return content


def host(recorded: dict[str, Any]) -> HostGpus:
    nvml = recorded["nvml"]
    devices = tuple(Device(**one) for one in nvml["devices"])
    return HostGpus(driver=nvml["driver"], cuda=nvml["cuda"], devices=devices)


def test_something_is_recorded() -> None:
    assert RECORDED


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_answer_is_still_the_one_that_was_given_there(
    recorded: dict[str, Any], runtime: str
) -> None:
    answer = recorded["doctor"][runtime]
    contract = parse_contract(json.dumps(answer["contract"]), file="recorded")
    judgement = judge(contract, host(recorded))
    assert [one.to_dict() for one in judgement.verdicts] == answer["verdicts"]
    assert judgement.able is answer["able"] is True


def test_what_nvml_said_is_what_nvidia_smi_said(recorded: dict[str, Any]) -> None:
    pairs = zip(host(recorded).devices, recorded["nvidia-smi"], strict=True)
    for device, listed in pairs:
        for field in ("index", "uuid", "name", "memory_mib", "capability"):
            assert getattr(device, field) == listed[field]
    assert recorded["discover-gpus"] == [one["uuid"] for one in recorded["nvidia-smi"]]


@pytest.mark.starts
@pytest.mark.compiles
def test_the_stub_answers_like_the_real_driver(recorded: dict[str, Any], tmp_path: Path) -> None:
    """Apart from the UUID, which the stub makes."""
    build_stub("nvml.c", "libnvidia-ml.so.1", tmp_path)
    nvml = recorded["nvml"]
    major, minor = nvml["cuda"].split(".")
    gpus = ";".join(
        f"{one['name']},{one['capability']},{one['memory_mib']}" for one in nvml["devices"]
    )
    program = (
        "import json; from mlruntime.host.nvml import read_gpus;"
        "print(json.dumps(read_gpus().to_dict()))"
    )
    variables = {
        "LD_LIBRARY_PATH": str(tmp_path),
        "STUB_NVML_DRIVER": nvml["driver"],
        "STUB_NVML_CUDA": str(int(major) * 1000 + int(minor) * 10),
        "STUB_NVML_GPUS": gpus,
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    answer = json.loads(done.stdout)
    for device in (*answer["devices"], *nvml["devices"]):
        device.pop("uuid")
    assert answer == nvml
