"""The cluster's DNS: addresses of services, asked from the API server each time.

There is no kube-proxy: a headless service has the addresses of its pods, the API server's is an
address of the node, and other services of their own address are not reachable.
"""

import json
import socketserver
import ssl
import struct
import urllib.error
import urllib.request
from pathlib import Path
from socket import inet_aton
from typing import Any, Final

from tests.kubernetes.addresses import DNS_ADDRESS, NODE_ADDRESS

_A: Final = 1
_NOT_THERE: Final = 3


class Api:
    """The API server, as the administrator sees it."""

    def __init__(self, pki: Path) -> None:
        self._context = ssl.create_default_context(cafile=pki / "ca.crt")
        self._context.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def get(self, path: str) -> Any:
        """Return what is at a path, read as JSON; raise ``OSError`` when it is not there."""
        return json.loads(self.text(path))

    def text(self, path: str) -> bytes:
        """Return what is at a path."""
        url = f"https://{NODE_ADDRESS}{path}"
        with urllib.request.urlopen(url, context=self._context, timeout=5) as answer:
            return bytes(answer.read())


def addresses(api: Api, name: str) -> list[str]:
    """Return the addresses of ``SERVICE.NAMESPACE.svc.cluster.local``; none if it has none."""
    parts = name.rstrip(".").lower().split(".")
    if len(parts) not in (3, 5) or parts[2] != "svc":
        return []
    service, namespace = parts[:2]
    try:
        spec = api.get(f"/api/v1/namespaces/{namespace}/services/{service}")["spec"]
        if spec.get("clusterIP") not in (None, "None"):
            return [spec["clusterIP"]]
        slices = api.get(
            f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
            f"?labelSelector=kubernetes.io%2Fservice-name%3D{service}"
        )
    except OSError:
        return []
    endpoints = [one for piece in slices["items"] for one in piece.get("endpoints") or ()]
    return [
        address
        for one in endpoints
        if spec.get("publishNotReadyAddresses") or one.get("conditions", {}).get("ready", True)
        for address in one["addresses"]
    ]


def serve(api: Api) -> None:
    """Answer for ever."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            question, socket = self.request
            socket.sendto(reply(api, question), self.client_address)

    with socketserver.ThreadingUDPServer((DNS_ADDRESS, 53), Handler) as server:
        server.serve_forever()


def reply(api: Api, question: bytes) -> bytes:
    """Return the answer to a question of one name (RFC 1035, section 4)."""
    labels, at = [], 12
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode())
        at += length + 1
    (kind,) = struct.unpack(">H", question[at + 1 : at + 3])
    found = addresses(api, ".".join(labels))
    told = found if kind == _A else []
    flags = 0x8580 | (0 if found else _NOT_THERE)
    head = question[:2] + struct.pack(">HHHHH", flags, 1, len(told), 0, 0) + question[12 : at + 5]
    record = b"\xc0\x0c" + struct.pack(">HHIH", _A, 1, 2, 4)
    return head + b"".join(record + inet_aton(address) for address in told)
