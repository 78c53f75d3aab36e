"""What an image asks of a GPU host: as JSON, as labels, as a value. Core: no I/O.

It is known from the lock before anything is pulled, and every image carries it, so that a host
without the repository can be asked too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from packaging.version import InvalidVersion, Version

from mlruntime.documents.reading import Location, read_json
from mlruntime.documents.schema import Form, Natural, Text, checked, described
from mlruntime.errors import InvalidDefinition, MlruntimeError

PREFIX: Final = "io.mlruntime.host"
# The path of this file in an image.
PATH: Final = "opt/ml/host-contract.json"
# Only plain capabilities such as "9.0", not "9.0a".
Capability = Annotated[str, described("a compute capability", r"^[1-9][0-9]*\.[0-9]$", '"8.0"')]


class PromiseForm(Form, frozen=True, rename=None):
    """What a runtime promises of GPUs: a host contract but for the driver."""

    cuda: Text
    architectures: list[Capability]
    ptx: list[Capability]
    memory_mib: Natural


class ContractForm(PromiseForm, frozen=True, rename=None):
    """What a host must have for an image's GPU code to run."""

    minimum_driver: Text


@dataclass(frozen=True, kw_only=True, slots=True)
class HostContract:
    """What a host must have for an image's GPU code to run.

    ``minimum_driver`` is the oldest driver that the CUDA libraries accept; ``cuda`` the newest
    toolkit that made any of the image's PTX. ``architectures`` are the compute capabilities that
    every one of its binaries has machine code (SASS) for, ``ptx`` those of the PTX that a driver
    can compile for newer GPUs; both as "8.0", ascending. ``memory_mib`` is a device's.
    """

    minimum_driver: str
    cuda: str
    architectures: tuple[str, ...]
    ptx: tuple[str, ...]
    memory_mib: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "minimum_driver": self.minimum_driver,
            "cuda": self.cuda,
            "architectures": list(self.architectures),
            "ptx": list(self.ptx),
            "memory_mib": self.memory_mib,
        }

    def to_json(self) -> str:
        """Return the text of ``host-contract.json``; equal contracts give equal bytes."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    def labels(self) -> tuple[tuple[str, str], ...]:
        """Return the labels that an image with this contract carries, sorted."""
        return (
            (f"{PREFIX}.architectures", " ".join(self.architectures)),
            (f"{PREFIX}.cuda", self.cuda),
            (f"{PREFIX}.memory-mib", str(self.memory_mib)),
            (f"{PREFIX}.minimum-driver", self.minimum_driver),
            (f"{PREFIX}.ptx", " ".join(self.ptx)),
        )


def labelled(labels: Mapping[str, str]) -> HostContract | None:
    """Return the contract that an image's labels tell; ``None`` for one that is not for GPUs."""
    if f"{PREFIX}.minimum-driver" not in labels:
        return None
    return HostContract(
        minimum_driver=labels[f"{PREFIX}.minimum-driver"],
        cuda=labels[f"{PREFIX}.cuda"],
        architectures=tuple(labels[f"{PREFIX}.architectures"].split()),
        ptx=tuple(labels[f"{PREFIX}.ptx"].split()),
        memory_mib=int(labels[f"{PREFIX}.memory-mib"]),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """What a runtime's definition promises of GPUs: a contract but for the driver.

    The driver follows from the versions that are chosen.
    """

    cuda: str
    architectures: tuple[str, ...]
    ptx: tuple[str, ...]
    memory_mib: int

    def contract(self, minimum_driver: str) -> HostContract:
        """Return the host contract."""
        return HostContract(
            minimum_driver=minimum_driver,
            cuda=self.cuda,
            architectures=self.architectures,
            ptx=self.ptx,
            memory_mib=self.memory_mib,
        )


def capability(text: str) -> tuple[int, int]:
    """Return a compute capability as two numbers, so that 10.0 comes after 9.0."""
    major, minor = text.split(".")
    return int(major), int(minor)


def parse_contract(
    text: str, *, file: str, error: type[MlruntimeError] = InvalidDefinition
) -> HostContract:
    """Read ``host-contract.json``; anything but exactly its form raises ``error``."""
    return contract(read_json(text, file=file, error=error))


def contract(place: Location) -> HostContract:
    """Read a contract that is part of another document."""
    return contract_of(checked(ContractForm, place), place)


def contract_of(form: ContractForm, place: Location) -> HostContract:
    """Return the contract of a form at its place."""
    return promise(form, place).contract(_version(form.minimum_driver, place, "minimum_driver"))


def promise(form: PromiseForm, place: Location) -> Promise:
    """Return what a form at its place promises."""
    if not form.architectures and not form.ptx:
        raise place.fail("neither architectures nor ptx: no GPU could run it")
    return Promise(
        cuda=_version(form.cuda, place, "cuda"),
        architectures=_ascending(form.architectures, place, "architectures"),
        ptx=_ascending(form.ptx, place, "ptx"),
        memory_mib=form.memory_mib,
    )


def contract_of_labels(labels: Mapping[str, str], *, file: str) -> HostContract | None:
    """Return the contract in an image's labels, ``None`` for an image that needs no GPU.

    Labels that are there in part, or malformed, raise ``InvalidDefinition`` naming ``file``.
    """
    found = {
        name.removeprefix(f"{PREFIX}.").replace("-", "_"): value
        for name, value in labels.items()
        if name.startswith(f"{PREFIX}.")
    }
    if not found:
        return None
    value: dict[str, Any] = dict(found)
    for listed in ("architectures", "ptx"):
        if listed in value:
            value[listed] = value[listed].split()
    if value.get("memory_mib", "").isdecimal():
        value["memory_mib"] = int(value["memory_mib"])
    return contract(Location(value, file=f"{file}: labels {PREFIX}"))


def _version(text: str, place: Location, key: str) -> str:
    try:
        Version(text)
    except InvalidVersion:
        raise place.get(key).fail(f"{text!r} is not a version") from None
    return text


def _ascending(texts: Sequence[str], place: Location, key: str) -> tuple[str, ...]:
    """Return compute capabilities, which must be ascending and different."""
    if list(texts) != sorted(set(texts), key=capability):
        raise place.get(key).fail("compute capabilities must be ascending, each of them once")
    return tuple(texts)
