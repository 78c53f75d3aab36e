"""The GPUs of a host, as its driver reports them."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """A GPU, or a slice of one in MIG mode, as the driver reports it.

    ``uuid`` is what ``CUDA_VISIBLE_DEVICES`` takes; ``capability`` the compute capability
    ("8.0"); ``mig`` is set for a slice, whose memory is the slice's own. ``trouble`` says why a
    device cannot be used at all; what could not be read of it is then empty.
    """

    index: int
    name: str = ""
    uuid: str = ""
    memory_mib: int = 0
    capability: str = ""
    mig: bool = False
    trouble: str | None = None

    def __str__(self) -> str:
        what = "MIG slice of GPU" if self.mig else "GPU"
        return f"{what} {self.index}" + (f" ({self.name})" if self.name else "")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {field: getattr(self, field) for field in self.__dataclass_fields__}


@dataclass(frozen=True, kw_only=True, slots=True)
class HostGpus:
    """A host with a driver. ``cuda`` is the CUDA version that the driver implements ("12.4")."""

    driver: str
    cuda: str | None
    devices: tuple[Device, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        devices = [device.to_dict() for device in self.devices]
        return {"driver": self.driver, "cuda": self.cuda, "devices": devices}


@dataclass(frozen=True, kw_only=True, slots=True)
class NoGpus:
    """Why nothing is known of a host's GPUs: ``what`` is missing, ``why``, and what to try.

    ``looked_for`` is false when there was no way to ask the driver.
    """

    what: str
    why: str | None = None
    hint: str | None = None
    looked_for: bool = True
