"""What this host can do: one finding per thing that building or validating needs."""

import os
import shutil
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import uv

from mlruntime.engine import Engine, EngineInfo, connect
from mlruntime.errors import MlruntimeError
from mlruntime.host.gpus import (
    Device,
    HostGpus,
    NoGpus,
)
from mlruntime.host.settings import DEBIAN_HINT, Found, Sources, without_secrets

# Disk that building and validating 6.0-ml takes: downloads, layers, the engine's copy.
DISK_BYTES: Final = 12 << 30
# Two workers of 2 GiB each, a driver, and the daemons.
MEMORY_BYTES: Final = 7 << 30
# What of it is the engine's: the image unpacked, and what a build needs of it for a while.
ENGINE_BYTES: Final = 6 << 30
# Of the engine's API; Docker 19.03's, the first that gives GPUs to containers.
OLDEST_API: Final = "1.40"

Status = Literal["ok", "missing", "not-run"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing: what was found, and what to do when it is missing.

    ``needed`` says whether a CPU build and its validation depend on it; ``not-run`` means that
    it could not be looked at.
    """

    name: str
    status: Status
    found: str
    needed: bool = True
    hint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {field: getattr(self, field) for field in self.__dataclass_fields__}


def can_build(findings: Iterable[Finding]) -> bool:
    """Tell whether nothing is missing that CPU builds need."""
    return all(finding.status == "ok" for finding in findings if finding.needed)


def examine(
    store: Path, sources: Callable[[], Sources], gpus: HostGpus | NoGpus
) -> tuple[Finding, ...]:
    """Look at this host; nothing is changed and no registry is asked."""
    return (
        *engine(connect),
        tool("apt-get", shutil.which("apt-get"), "use a Debian host, or a Debian container"),
        tool("uv", _uv(), "pip install uv"),
        disk(store, DISK_BYTES),
        *registries(sources),
        *nvidia(gpus),
    )


def engine(connect: Callable[[], Engine]) -> tuple[Finding, ...]:
    """Look at the container engine, and at its host's memory and disk."""
    try:
        with closing(connect()) as found:
            info = found.info()
    except MlruntimeError as error:
        return (Finding(name="engine", status="missing", found=_told(error), hint=error.hint),)
    enough = info.memory >= MEMORY_BYTES
    old = _version(info.api) < _version(OLDEST_API)
    return (
        Finding(
            name="engine",
            status="missing" if old else "ok",
            found=_engine(info),
            hint=f"API {OLDEST_API} is needed: Docker 20.10 or newer, or Podman 4" if old else None,
        ),
        Finding(
            name="memory",
            status="ok" if enough else "missing",
            found=f"{info.memory / 2**30:.1f} GiB",
            hint=None if enough else f"validation needs {MEMORY_BYTES >> 30} GiB",
        ),
        engine_disk(info),
        *_engine_limits(info),
    )


def _engine_limits(info: EngineInfo) -> Iterator[Finding]:
    """Tell what it does otherwise than an engine of root's on this host: all can build."""
    if info.unlimited:
        yield _lacking(
            "engine limits",
            f"containers get no limit of {' and '.join(info.unlimited)}",
            "delegate cgroups v2 to the engine's user (docs/engines.md#rootless-engines):"
            " until then a job that takes too much takes it from all others",
        )
    if info.driver == "vfs":
        yield _lacking(
            "engine storage",
            "the storage driver vfs: each layer is a whole copy of all layers below it",
            "install fuse-overlayfs, or use overlay2: an image of 3 GB takes ten times as much now",
        )
    if info.remote:
        yield _ports(
            "pages of a cluster are at 127.0.0.1 of the engine's machine;"
            " `ssh -NL 8080:127.0.0.1:8080 MACHINE` brings one here"
        )
    elif info.rootless:
        yield _ports("those from 1024 on can be published (rootless)")


def _ports(found: str) -> Finding:
    return Finding(name="engine ports", status="ok", found=found, needed=False)


def _lacking(name: str, found: str, hint: str) -> Finding:
    return Finding(name=name, status="missing", found=found, needed=False, hint=hint)


def _engine(info: EngineInfo) -> str:
    parts = [f"{info.product} {info.version}", f"API {info.api}"]
    parts += ["containerd image store"] if info.store == "containerd" else []
    parts += ["rootless"] if info.rootless else []
    parts += ["reached over a network"] if info.remote else []
    parts += [f"Linux {info.kernel}", f"{info.cpus} CPUs"]
    parts += [f"at {info.endpoint}"] if info.endpoint else []
    return ", ".join(parts)


def _version(api: str) -> tuple[int, ...]:
    return tuple(int(part) for part in api.split(".") if part.isdecimal())


def engine_disk(info: EngineInfo) -> Finding:
    """Look at the free space where the engine keeps images, if this host sees that place."""
    folder = Path(info.root)
    if info.remote or not info.root or not folder.is_dir():
        return Finding(
            name="engine disk",
            status="not-run",
            found=f"its images are not on a disk that this host sees; {ENGINE_BYTES >> 30} GiB "
            "must be free there",
            needed=False,
        )
    free = shutil.disk_usage(folder).free
    enough = free >= ENGINE_BYTES
    return Finding(
        name="engine disk",
        status="ok" if enough else "missing",
        found=f"{free / 2**30:.1f} GiB free for {folder}",
        hint=None
        if enough
        else f"an image and its validation need {ENGINE_BYTES >> 30} GiB: remove images that "
        "nobody needs (`docker image ls`)",
    )


def tool(name: str, path: str | None, hint: str) -> Finding:
    """Look at a host tool."""
    if path is None:
        return Finding(name=name, status="missing", found="not installed", hint=hint)
    return Finding(name=name, status="ok", found=path)


def _uv() -> str | None:
    try:
        return uv.find_uv_bin()
    except FileNotFoundError:
        return None


def disk(store: Path, needed: int) -> Finding:
    """Look at the free space, and whether it may be written to, where the store is or will be."""
    folder = store
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**30:.1f} GiB free for {store}"
    if not os.access(folder, os.W_OK):
        hint = "set MLRUNTIME_STORE to a directory of yours"
        return Finding(name="disk", status="missing", found=f"cannot write {folder}", hint=hint)
    if free < needed:
        hint = f"free {(needed - free) / 2**30:.1f} GiB more, or set MLRUNTIME_STORE"
        return Finding(name="disk", status="missing", found=found, hint=hint)
    return Finding(name="disk", status="ok", found=found)


def registries(sources: Callable[[], Sources]) -> tuple[Finding, ...]:
    """Look at where packages would come from, and at the certificates downloads trust."""
    try:
        found = sources()
    except MlruntimeError as error:
        return (Finding(name="registries", status="missing", found=_told(error), hint=error.hint),)
    debian = sorted({without_secrets(source.uri) for source in found.debian})
    return (
        certificates(found.ca_bundle, found.network.ca_directories),
        Finding(name="pypi", status="ok", found=", ".join(map(without_secrets, found.indexes))),
        Finding(name="maven", status="ok", found=without_secrets(found.maven)),
        Finding(
            name="debian",
            status="ok" if debian else "missing",
            found=", ".join(debian) or "no archive is configured",
            hint=None if debian else DEBIAN_HINT,
        ),
        *(_setting(setting) for setting in found.settings()),
    )


def _setting(found: Found) -> Finding:
    """Show a setting of the host that was read, and whether it works."""
    return Finding(
        name="setting",
        status="ok" if found.works else "missing",
        found=f"{found.setting}: {found.value}",
        needed=found.needed,
        hint=found.hint,
    )


def certificates(bundle: Path | None, directories: tuple[Path, ...] = ()) -> Finding:
    """Look at the CA bundle: can it be read, and how many certificates does it hold."""
    try:
        context = ssl.create_default_context(cafile=str(bundle) if bundle else None)
    except (OSError, ssl.SSLError) as error:
        return Finding(
            name="certificates",
            status="missing",
            found=f"{bundle} cannot be used: {error}",
            hint="name a PEM file with --ca-bundle or SSL_CERT_FILE",
        )
    count = context.cert_store_stats()["x509_ca"]
    if bundle is None and directories:
        return Finding(name="certificates", status="ok", found=", ".join(map(str, directories)))
    where = str(bundle) if bundle else "the system's"
    more = "".join(f", and those in {path}" for path in directories)
    return Finding(name="certificates", status="ok", found=f"{where}, {count} authorities{more}")


def nvidia(host: HostGpus | NoGpus) -> tuple[Finding, ...]:
    """Show the driver and each of its GPUs; CPU builds need neither."""
    if isinstance(host, NoGpus):
        status: Status = "missing" if host.looked_for else "not-run"
        found = f"{host.what}: {host.why}" if host.why else host.what
        return (Finding(name="nvidia", status=status, found=found, needed=False, hint=host.hint),)
    cuda = f", for CUDA {host.cuda} and older" if host.cuda else ""
    driver = f"driver {host.driver}{cuda}; GPUs: {len(host.devices) or 'none'}"
    return (
        Finding(name="nvidia", status="ok", found=driver, needed=False),
        *map(_device, host.devices),
    )


def _device(device: Device) -> Finding:
    found = f"{device}: {device.memory_mib} MiB, compute capability {device.capability}"
    if device.trouble is not None:
        found = f"{device}: {device.trouble}"
    status: Status = "ok" if device.trouble is None else "missing"
    return Finding(name="gpu", status=status, found=found, needed=False)


def _told(error: MlruntimeError) -> str:
    return f"{error.what} ({error.why})" if error.why else error.what
