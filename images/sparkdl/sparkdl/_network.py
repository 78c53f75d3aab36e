"""Which network interface the ranks talk over."""

import ipaddress
import socket
from collections.abc import Sequence

import psutil


def address_of(host: str) -> str:
    """Return the IPv4 address of a host name (Horovod's rendezvous speaks IPv4)."""
    return socket.gethostbyname(host)


def interface_for(own_host: str, hosts: Sequence[str]) -> str:
    """Return the interface that leads from this host to the other ``hosts``.

    The route decides, not the host's name: a container may have several networks, and Gloo's
    own choice (the address its host name resolves to) fails where that name does not resolve.
    With a single host it is the loopback interface.
    """
    peer = next((host for host in hosts if host != own_host), None)
    return interface_with(local_address_towards(address_of(peer)) if peer else "127.0.0.1")


def choose_interface(forced: str | None, own_host: str, hosts: Sequence[str]) -> str:
    """Return ``forced`` if this host has it, without it ``interface_for``'s answer."""
    if forced is None:
        return interface_for(own_host, hosts)
    known = sorted(psutil.net_if_addrs())
    if forced not in known:
        raise ValueError(f"this host has no network interface {forced!r}, only {', '.join(known)}")
    return forced


def local_address_towards(address: str) -> str:
    """Return the source address the kernel would use to reach ``address``; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        return str(probe.getsockname()[0])


def interface_with(address: str) -> str:
    """Return the name of the interface that has this IPv4 address.

    The whole 127.0.0.0/8 belongs to the loopback interface.
    """
    wanted = ipaddress.IPv4Address(address)
    for name, addresses in psutil.net_if_addrs().items():
        for one in addresses:
            if one.family != socket.AF_INET:
                continue
            held = ipaddress.IPv4Address(one.address)
            if held == wanted or (held.is_loopback and wanted.is_loopback):
                return name
    raise RuntimeError(f"no network interface of this host has the address {address}")
