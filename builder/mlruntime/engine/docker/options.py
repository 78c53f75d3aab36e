"""What Docker is told of a container, besides what runs in it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import docker

from mlruntime.engine import owner
from mlruntime.engine.values import Mount, Service

# What a container starts with must not depend on the proxies of this host or of the engine's: the
# docker command, its SDK and Podman's service give them to containers, and ours reach nothing.
NO_PROXY: Final[Mapping[str, str]] = {
    **{
        spelled: ""
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY")
        for spelled in (name, name.lower())
    },
    "NO_PROXY": "*",
    "no_proxy": "*",
}


def labels_of(run: str, more: Mapping[str, str] | None, *, stays: bool) -> dict[str, str]:
    """Return the labels that say whose a thing is, and more."""
    maker = owner.current()
    return {**(more or {}), **(maker.starter(run) if stays else maker.labels(run))}


def host_config(
    api: Any,
    mounts: Sequence[Mount],
    network: str,
    memory: int | None,
    gpus: Sequence[str],
    *,
    cpu_shares: int | None,
    tmpfs: Sequence[str],
    service: Service | None,
) -> Any:
    """Return what Docker calls the configuration of a container for its host."""
    requests = [docker.types.DeviceRequest(device_ids=list(gpus), capabilities=[["gpu"]])]
    return api.create_host_config(
        device_requests=requests if gpus else None,
        network_mode=network,
        cpu_shares=cpu_shares,
        tmpfs=dict.fromkeys(tmpfs, ""),
        mem_limit=memory,
        memswap_limit=memory,
        mounts=[
            docker.types.Mount(m.target, m.source or None, type=m.kind, read_only=m.read_only)
            for m in mounts
        ],
        **_served(service),
    )


def _served(service: Service | None) -> dict[str, Any]:
    """Return what Docker is told of a service."""
    if service is None:
        return {"log_config": docker.types.LogConfig(type="json-file")}
    # A log without an end would fill the engine's disk.
    bounded = {"max-size": "16m", "max-file": "2"}
    return {
        "log_config": docker.types.LogConfig(type="json-file", config=bounded),
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart_policy": {"Name": "unless-stopped"} if service.restart else None,
        "nano_cpus": int(service.cpus * 1e9) if service.cpus else None,
        "port_bindings": {
            inside: ("127.0.0.1", outside or None) for inside, outside in service.ports.items()
        },
    }
