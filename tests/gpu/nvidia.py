"""What NVIDIA's own tools say of this host: the judges of the tests in this folder."""

import ctypes
import os
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

_FIELDS = ("index", "uuid", "name", "memory.total", "compute_cap", "driver_version")
# CUDA's order is by speed unless told otherwise; NVML's is by bus.
_BY_BUS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Smi:
    """A GPU as ``nvidia-smi`` lists it; the memory is in MiB."""

    index: int
    uuid: str
    name: str
    memory_mib: int
    capability: str
    driver: str


def smi() -> list[Smi]:
    """Ask ``nvidia-smi``; an empty list where there is none, or no driver."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        return []
    if done.returncode:
        return []
    rows = (line.split(", ") for line in done.stdout.splitlines())
    return [
        Smi(
            index=int(index),
            uuid=uuid_,
            name=name,
            memory_mib=int(memory),
            capability=capability,
            driver=driver,
        )
        for index, uuid_, name, memory, capability, driver in rows
    ]


def cuda_devices(**variables: str) -> list[str]:
    """Return the UUIDs that CUDA shows to a process with these variables, in CUDA's order."""
    done = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, **_BY_BUS, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.split()


def cuobjdump(path: Path) -> tuple[set[str], set[str]]:
    """Return the architectures (such as "9.0") with machine code, and with PTX, of a library."""
    done = subprocess.run(
        ["cuobjdump", "--list-elf", "--list-ptx", str(path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    sass, ptx = (
        {f"{int(one) // 10}.{int(one) % 10}" for one in re.findall(pattern, done.stdout)}
        for pattern in (r"\.sm_(\d+)[af]?\.cubin", r"\.sm_(\d+)[af]?\.ptx")
    )
    return sass, ptx


def _list_devices() -> None:
    cuda = ctypes.CDLL("libcuda.so.1")
    if cuda.cuInit(0):
        return  # no device is visible, or none is there
    count, device = ctypes.c_int(), ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    for index in range(count.value):
        raw = (ctypes.c_char * 16)()
        cuda.cuDeviceGet(ctypes.byref(device), index)
        cuda.cuDeviceGetUuid_v2(raw, device)
        print(f"GPU-{uuid.UUID(bytes=raw.raw)}")


if __name__ == "__main__":
    _list_devices()
