"""Addresses of hosts, and which network interface the ranks talk over. IPv4 goes before IPv6."""

import array
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_VARIABLE = "HOROVOD_GLOO_IFACE"
_SIOCGIFCONF = 0x8912
_ENTRY = 40  # of struct ifreq on 64-bit Linux: 16 bytes of name, then a sockaddr_in
_IPV6 = Path("/proc/net/if_inet6")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def address_of(host: str) -> str:
    """Return an address of a host name, an IPv6 one only where it has no other.

    Spark writes IPv6 addresses in brackets; so they may be here. Raises ``ConnectionError`` with
    the name when there is none.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionError(
            f"the name {host!r} does not resolve on {socket.gethostname()} "
            f"({error.strerror or error}). All hosts "
            "of a run must find each other: add the name to the DNS or to /etc/hosts, or have "
            "Spark use addresses (spark.driver.host for the driver, SPARK_LOCAL_HOSTNAME for a "
            "worker)"
        ) from None
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return str(found[0][4][0])


def is_ipv6(address: str) -> bool:
    """Return whether an address (not a name) is one of IPv6."""
    return ":" in address


def resolves(host: str) -> bool:
    """Return whether a name leads to any address."""
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False


def listen(address: str, port: int) -> socket.socket:
    """Listen on an address or name of this machine; on all of them for ``0.0.0.0`` or ``::``.

    All means of both families, as Java has it. Raises ``OSError``.
    """
    plain = address.strip("[]")
    if plain in ("", "0.0.0.0", "::"):
        if socket.has_dualstack_ipv6():
            return _server(("", port), socket.AF_INET6, dual=True)
        return _server(("", port), socket.AF_INET)
    found = socket.getaddrinfo(plain, port, type=socket.SOCK_STREAM)
    family, _, _, _, place = min(found, key=lambda one: one[0] != socket.AF_INET)
    return _server(place, family)


def _server(place: tuple[object, ...], family: int, *, dual: bool = False) -> socket.socket:
    # create_server sets SO_REUSEADDR: a fixed port may be used again at once.
    return socket.create_server(place, family=family, backlog=512, dualstack_ipv6=dual)


def interface_for(own_host: str, hosts: Sequence[str]) -> str:
    """Return the interface that leads from this host to the other ``hosts``.

    The route decides, not the host's name: a container may have several networks, and Gloo's
    own choice (the address its host name resolves to) fails where that name does not resolve.
    With a single host it is the loopback interface.
    """
    peer = next((host for host in hosts if host != own_host), None)
    return interface_with(local_address_towards(address_of(peer)) if peer else "127.0.0.1")


def choose_interface(
    option: str | None, environment: Mapping[str, str], own_host: str, hosts: Sequence[str]
) -> str:
    """Return the interface that was asked for, else ``interface_for``'s answer.

    ``option`` is ``options(interface=…)``, which goes before Horovod's own variable. Raises
    ``ValueError``, with the interfaces that would do, for one that this host does not have or
    that has no address.
    """
    asked, setting = option, "options(interface=…)"
    if asked is None:
        asked, setting = environment.get(_VARIABLE) or None, _VARIABLE
    if asked is None:
        return interface_for(own_host, hosts)
    usable = {name for name, _ in _addresses()}
    if asked in usable:
        return asked
    known = {name for _, name in socket.if_nameindex()}
    trouble = "has no address" if asked in known else "is not there"
    raise ValueError(
        f"{setting} asks for the network interface {asked!r}, which {trouble} on "
        f"{socket.gethostname()}. There are {', '.join(sorted(usable))}. "
        "The name must be right on every host of the run: leave it out, and each host takes the "
        "interface that leads to the others"
    )


def local_address_towards(address: str) -> str:
    """Return the source address the kernel would use to reach ``address``; sends nothing."""
    family = socket.AF_INET6 if is_ipv6(address) else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        return str(probe.getsockname()[0])


def interface_with(address: str) -> str:
    """Return the name of the interface that has this address.

    The whole 127.0.0.0/8 belongs to the loopback interface.
    """
    wanted = ipaddress.ip_address(address)
    for name, held in _addresses():
        if held == wanted or (held.is_loopback and wanted.is_loopback):
            return name
    raise RuntimeError(f"no network interface of this host has the address {address}")


def _addresses() -> Iterator[tuple[str, _Address]]:
    """Yield every interface's name with each address that it has."""
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
    if _IPV6.exists():  # not where the kernel has no IPv6
        for line in _IPV6.read_text().splitlines():
            digits, *_, name = line.split()
            yield name, ipaddress.IPv6Address(int(digits, 16))
