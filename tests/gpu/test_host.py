"""``doctor`` and Spark's discovery script on a real GPU, held against NVIDIA's own tools."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlruntime.host.gpus import HostGpus
from mlruntime.host.nvml import read_gpus

from tests.gpu.nvidia import Smi, cuda_devices

pytestmark = pytest.mark.gpu

CHECKOUT = Path(__file__).parents[2]
LIBRARY = CHECKOUT / "images" / "sparkdl"
SCRIPT = CHECKOUT / "images" / "rootfs" / "settings" / "opt" / "ml" / "bin" / "discover-gpus"
NOBODY = 65534


def doctor(*words: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "mlruntime", "--root", str(CHECKOUT), "doctor", *words]
    done = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, text=True, timeout=120)
    return done.returncode, json.loads(done.stdout)


def discovered(user: int | None = None, **variables: str) -> list[str]:
    """Run the image's discovery script; nothing may be said on stderr."""
    hidden = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={**kept, "PYTHONPATH": str(LIBRARY), **variables},
        user=user,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["name"] == "gpu"
    addresses: list[str] = found["addresses"]
    return addresses


def test_the_driver_s_answers_are_those_of_nvidia_smi(gpus: list[Smi]) -> None:
    found = read_gpus()
    assert isinstance(found, HostGpus)
    assert found.driver == gpus[0].driver
    assert [(one.index, one.uuid, one.name, one.capability) for one in found.devices] == [
        (one.index, one.uuid, one.name, one.capability) for one in gpus
    ]
    # nvidia-smi leaves out what the driver reserves for itself, NVML's older call does not.
    for device, listed in zip(found.devices, gpus, strict=True):
        assert abs(device.memory_mib - listed.memory_mib) <= 0.02 * listed.memory_mib


@pytest.mark.parametrize("runtime", ["6.0-ml", "7.0-ml"])
def test_doctor_judges_by_the_host_contract(gpus: list[Smi], runtime: str) -> None:
    code, told = doctor(runtime, "--variant", "gpu")
    runs = told["runs"]
    newest = max(tuple(map(int, one.split("."))) for one in runs["contract"]["architectures"])
    capability = tuple(map(int, gpus[0].capability.split(".")))
    if capability[0] == newest[0]:  # this image was made for the generation of this GPU
        assert (code, runs["able"]) == (0, True)
    assert runs["devices"] == ([one.uuid for one in gpus] if runs["able"] else [])
    assert runs["verdicts"][0]["what"].startswith(gpus[0].driver)


# What people and schedulers write into CUDA_VISIBLE_DEVICES, and what C's number parsing makes odd.
# fmt: off
LISTED = (
    "", "0", "7", "-1", "00", "+0", " 0", "0x0", "0x1", "0a", "1e0", "-0", "0.5", "0;1", "none",
    "0,0", "7,0", "0,7", "0 ,7", "0,7,0", ",0", "0,", "GPU", "GPU-", "{uuid}", "{prefix}",
    "{short}", "{uuid}0", "{upper}", " {uuid}", "{uuid},{uuid}", "0,{uuid}", "{uuid},0", "{uuid},7",
    "7,{uuid}",
)
# fmt: on


@pytest.mark.parametrize("listed", LISTED)
def test_discovery_shows_what_cuda_shows(gpus: list[Smi], listed: str) -> None:
    uuid = gpus[0].uuid
    words = listed.format(uuid=uuid, prefix=uuid[:12], short=uuid[:5], upper=uuid.upper())
    assert discovered(CUDA_VISIBLE_DEVICES=words) == cuda_devices(CUDA_VISIBLE_DEVICES=words)


def test_discovery_without_variables(gpus: list[Smi]) -> None:
    assert discovered() == [one.uuid for one in gpus] == cuda_devices()


def test_discovery_as_a_user_with_no_rights(gpus: list[Smi]) -> None:
    if os.geteuid():
        pytest.skip("only root can run a process as another user")
    assert discovered(user=NOBODY) == [one.uuid for one in gpus]


@pytest.mark.parametrize(("shown", "count"), [("none", 0), ("void", 0), ("all", None)])
def test_discovery_honours_the_container_toolkit(
    gpus: list[Smi], shown: str, count: int | None
) -> None:
    expected = [one.uuid for one in gpus][:count]
    assert discovered(NVIDIA_VISIBLE_DEVICES=shown) == expected
