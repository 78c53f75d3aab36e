"""Which network interface the ranks talk over."""

import array
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator, Sequence

from sparkdl._errors import UnsuitableCluster

_SIOCGIFCONF = 0x8912
_ENTRY = 40  # of struct ifreq on 64-bit Linux: 16 bytes of name, then a sockaddr_in


def address_of(host: str) -> str:
    """Return the IPv4 address of a host name (Horovod's rendezvous speaks IPv4).

    Raises ``ConnectionError`` with the name when there is none.
    """
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        here = socket.gethostname()
        if ipv6_only(host):
            raise ConnectionError(f"on {here}: {_ipv6(host)}") from None
        raise ConnectionError(
            f"the name {host!r} does not resolve on {here} ({error.strerror or error}). All hosts "
            "of a run must find each other: add the name to the DNS or to /etc/hosts, or have "
            "Spark use addresses (spark.driver.host for the driver, SPARK_LOCAL_HOSTNAME for a "
            "worker)"
        ) from None


def resolves(host: str) -> bool:
    """Return whether a name leads to any address."""
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False


def ipv6_only(host: str) -> bool:
    """Return whether a name or an address leads to IPv6 addresses and to no others."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None)
    except OSError:
        return False
    return {family for family, *_ in found} == {socket.AF_INET6}


def require_ipv4(host: str) -> None:
    """Raise ``UnsuitableCluster`` when the driver has no IPv4 address for ranks to come to."""
    if ipv6_only(host):
        raise UnsuitableCluster(_ipv6(host))


def _ipv6(host: str) -> str:
    return (
        f"{host!r} has IPv6 addresses only, and Horovod's ranks find each other over IPv4. Give "
        "the hosts IPv4 addresses too, and set spark.driver.host to the driver's"
    )


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
    known = sorted(name for _, name in socket.if_nameindex())
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
    for name, held in _addresses():
        if held == wanted or (held.is_loopback and wanted.is_loopback):
            return name
    raise RuntimeError(f"no network interface of this host has the address {address}")


def _addresses() -> Iterator[tuple[str, ipaddress.IPv4Address]]:
    """Yield every interface's name with each IPv4 address that it has."""
    buffer = array.array("B", bytes(_ENTRY * 1024))
    place, length = buffer.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("iL", length, place)
        filled, _ = struct.unpack("iL", fcntl.ioctl(any_socket, _SIOCGIFCONF, asked))
    data = buffer.tobytes()[:filled]
    for start in range(0, filled, _ENTRY):
        # A second address may carry a label, such as eth0:1.
        name = data[start : start + 16].split(b"\0", 1)[0].decode().partition(":")[0]
        yield name, ipaddress.IPv4Address(data[start + 20 : start + 24])
