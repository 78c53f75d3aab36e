"""Can this host's GPUs run that image? The answer in words. Core: no I/O.

If it cannot, the answer comes before anything is pulled or built, with what to do about it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from packaging.version import InvalidVersion, Version

from mlruntime.host.gpus import Device, HostGpus, NoGpus
from mlruntime.lock.contract import HostContract, capability


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What holds for one thing (``about``): the driver, a device, or the host's GPUs as a whole."""

    about: str
    able: bool
    what: str
    why: str | None = None
    hint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {field: getattr(self, field) for field in self.__dataclass_fields__}


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """The answer as a whole: ``devices`` can run the image, which, if ``needed``, takes one."""

    verdicts: tuple[Verdict, ...] = ()
    devices: tuple[Device, ...] = ()
    needed: bool = True

    @property
    def able(self) -> bool:
        """Tell whether this host can run the image."""
        return bool(self.devices) or not self.needed


def judge(contract: HostContract, host: HostGpus | NoGpus) -> Judgement:
    """Compare a host with what an image asks for.

    One device that can run it is enough; the others are listed, with how to leave them out. A
    driver that is too old rules out all of them.
    """
    if isinstance(host, NoGpus):
        unknown = Verdict(about="GPUs", able=False, what=host.what, why=host.why, hint=host.hint)
        return Judgement(verdicts=(unknown,))
    driver = _driver(contract, host)
    if not host.devices:
        return Judgement(verdicts=(driver, _NO_DEVICE))
    judged = [(device, _device(contract, host, device)) for device in host.devices]
    if not driver.able:
        # A newer driver would not help these devices either.
        refused = tuple(verdict for _, verdict in judged if not verdict.able)
        return Judgement(verdicts=(driver, *refused))
    able = tuple(device for device, verdict in judged if verdict.able)
    verdicts = (driver, *(verdict for _, verdict in judged), *_together(host, able))
    return Judgement(verdicts=verdicts, devices=able)


_NO_DEVICE = Verdict(
    about="GPUs",
    able=False,
    what="there is none",
    why="the driver is loaded, but shows no device",
    hint="on a virtual machine attach a GPU; in a container ask for them (`docker run --gpus "
    'all`), and see that NVIDIA_VISIBLE_DEVICES is not "none"',
)


def _driver(contract: HostContract, host: HostGpus) -> Verdict:
    wanted = Version(contract.minimum_driver)
    found = _version(host.driver)
    if found is not None and found >= wanted:
        what = f"{host.driver} is new enough"
        return Verdict(about="driver", able=True, what=f"{what} ({wanted} or newer)")
    what = "is no version number" if found is None else "is too old"
    return Verdict(
        about="driver",
        able=False,
        what=f"{host.driver} {what}",
        why=f"the image's CUDA libraries need {contract.minimum_driver} or newer",
        hint=f"install a driver of the {wanted.major} branch or a newer one; the driver belongs "
        "to the host, no image can bring it",
    )


def _device(contract: HostContract, host: HostGpus, device: Device) -> Verdict:
    about = str(device)
    if device.trouble is not None:
        return Verdict(
            about=about,
            able=False,
            what="cannot be used",
            why=device.trouble,
            hint=_trouble_hint(device),
        )
    if device.memory_mib < contract.memory_mib:
        return Verdict(
            about=about,
            able=False,
            what=f"has too little memory: {device.memory_mib} MiB",
            why=f"the image asks for {contract.memory_mib} MiB",
            hint="use a larger slice" if device.mig else "use a GPU with more memory",
        )
    code = _code(contract, host, device)
    if not code.able or not device.mig:
        return code
    return Verdict(
        about=about,
        able=True,
        what=f"{code.what}, as one rank",
        why=code.why or "a slice is a device of its own, with memory of its own",
        hint="NCCL does not reduce between MIG slices: train on one slice, or turn MIG off for "
        "more ranks",
    )


def _trouble_hint(device: Device) -> str:
    if device.uuid:
        return f"see `dmesg` for Xid errors, or leave it out: it is {device.uuid}"
    return "see `dmesg` for Xid errors; reset the GPU or restart the host"


def _code(contract: HostContract, host: HostGpus, device: Device) -> Verdict:
    """Judge by the machine code and the PTX in the image's binaries."""
    about, of = str(device), f"compute capability {device.capability}"
    major, minor = capability(device.capability)
    sass = [capability(text) for text in contract.architectures]
    if any(m == major and n <= minor for m, n in sass):
        return Verdict(about=about, able=True, what=f"runs it ({of})")
    has = f"the image has machine code for {_listed(contract.architectures)}"
    older = [text for text in contract.ptx if capability(text) <= (major, minor)]
    if not older:
        oldest = _listed(contract.ptx) if contract.ptx else "none"
        return Verdict(
            about=about,
            able=False,
            what=f"is of an architecture that the image was not made for ({of})",
            why=f"{has} and PTX for {oldest}",
            hint="use a GPU of one of these architectures, or the cpu variant",
        )
    compiled = f"{has}; its PTX for {older[-1]} has to be compiled for this GPU"
    driver = _version(host.cuda or "")
    if driver is None or driver < Version(contract.cuda):
        known = (
            f"implements CUDA {host.cuda}" if driver else "does not say which CUDA it implements"
        )
        return Verdict(
            about=about,
            able=False,
            what=f"is newer than the image's machine code ({of})",
            why=f"{compiled}, which needs a driver for CUDA {contract.cuda}; this one {known}",
            hint=f"install a driver that implements CUDA {contract.cuda} or newer",
        )
    return Verdict(
        about=about,
        able=True,
        what=f"runs it once the first start has compiled its kernels ({of})",
        why=compiled,
        hint="that takes minutes: keep what was compiled, with CUDA_CACHE_PATH on a volume and "
        "CUDA_CACHE_MAXSIZE=4294967296",
    )


def _together(host: HostGpus, able: tuple[Device, ...]) -> Iterator[Verdict]:
    """Say how to use some of the devices when others cannot be."""
    if able and len(able) < len(host.devices):
        uuids = ",".join(device.uuid for device in able)
        yield Verdict(
            about="GPUs",
            able=True,
            what=f"{len(able)} of {len(host.devices)} can run it",
            hint=f"show containers only these: NVIDIA_VISIBLE_DEVICES={uuids}",
        )


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(texts) or "none"
