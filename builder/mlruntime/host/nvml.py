"""What the NVIDIA driver of this host says, through NVML. The only module that imports pynvml."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from mlruntime.host.gpus import (
    Device,
    HostGpus,
    NoGpus,
)

_MIB: Final = 1 << 20
_NO_PYNVML: Final = NoGpus(
    what="GPUs were not checked",
    why="nvidia-ml-py is not installed",
    hint="pip install 'mlruntime[gpu]' to check GPUs",
    looked_for=False,
)
_NO_SLICES: Final = "it is in MIG mode and has no slice (make some: `nvidia-smi mig -cgi … -C`)"


def read_gpus() -> HostGpus | NoGpus:
    """Ask the driver for its version and its GPUs, or say why it cannot be asked.

    A GPU that fails while it is read, or is lost, is a device with its ``trouble``: the others
    are still reported. An error of the driver raises nothing.
    """
    try:
        import pynvml  # type: ignore[import-untyped]
    except ImportError:
        return _NO_PYNVML
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return NoGpus(
            what="no NVIDIA driver answers",
            why=str(error),
            hint="install NVIDIA's driver on the host; in a container, ask the engine for the GPUs "
            "(`docker run --gpus all`)",
        )
    try:
        return HostGpus(
            driver=pynvml.nvmlSystemGetDriverVersion(),
            cuda=_cuda(pynvml),
            devices=tuple(
                device
                for index in range(pynvml.nvmlDeviceGetCount())
                for device in _devices(pynvml, index)
            ),
        )
    except pynvml.NVMLError as error:
        return NoGpus(
            what="the NVIDIA driver fails",
            why=str(error),
            hint="see `dmesg` for what NVRM says; restarting the host reloads the driver",
        )
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _cuda(nvml: Any) -> str | None:
    """Return the CUDA version that the driver implements, ``None`` when it does not say."""
    try:
        number = nvml.nvmlSystemGetCudaDriverVersion_v2()
    except nvml.NVMLError:
        return None
    return f"{number // 1000}.{number % 1000 // 10}"


def _devices(nvml: Any, index: int) -> Iterator[Device]:
    """Yield a GPU, or its slices when it is in MIG mode."""
    uuid = ""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = nvml.nvmlDeviceGetUUID(handle)
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        slices = _slices(nvml, handle)
        if slices is None:
            found = [_device(nvml, handle, index, f"{major}.{minor}", mig=False)]
        else:
            found = [_device(nvml, one, index, f"{major}.{minor}", mig=True) for one in slices]
    except nvml.NVMLError as error:
        found = [Device(index=index, uuid=uuid, trouble=_trouble(nvml, error))]
    else:
        if not found:
            found = [Device(index=index, uuid=uuid, trouble=_NO_SLICES)]
    yield from found


def _device(nvml: Any, handle: Any, index: int, capability: str, *, mig: bool) -> Device:
    return Device(
        index=index,
        name=nvml.nvmlDeviceGetName(handle),
        uuid=nvml.nvmlDeviceGetUUID(handle),
        memory_mib=nvml.nvmlDeviceGetMemoryInfo(handle).total // _MIB,
        capability=capability,
        mig=mig,
    )


def _slices(nvml: Any, handle: Any) -> list[Any] | None:
    """Return a GPU's slices; ``None`` for one that is not in MIG mode."""
    try:
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
        return None
    if current != nvml.NVML_DEVICE_MIG_ENABLE:
        return None
    found = []
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        with suppress(nvml.NVMLError_NotFound):  # a place that no slice has taken
            found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
    return found


def _trouble(nvml: Any, error: Exception) -> str:
    """Say why a GPU could not be read."""
    gone = (nvml.NVMLError_GpuIsLost, nvml.NVMLError_NotFound)
    what = "the driver has lost it" if isinstance(error, gone) else "the driver cannot read it"
    return f"{what}: {error}"
