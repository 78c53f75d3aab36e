"""An engine that is a socket and recorded answers: Docker's API as engines of all kinds speak it.

The answers were recorded from Docker 20.10 (classic), shortened; those of the containerd image
store follow its documentation, and Podman's were recorded from Podman 4.3.
"""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn, UnixStreamServer
from typing import Any, ClassVar

# Of the answers: what is sent with each.
HEADERS = "headers"
_CLASSIC_VERSION = {
    "Version": "20.10.24",
    "ApiVersion": "1.41",
    "MinAPIVersion": "1.12",
    "Components": [{"Name": "Engine"}, {"Name": "containerd"}, {"Name": "runc"}],
}
_INFO = {
    "MemoryLimit": True,
    "CpuCfsQuota": True,
    "KernelVersion": "6.1.0",
    "NCPU": 2,
    "MemTotal": 16 << 30,
    "DockerRootDir": "/var/lib/docker",
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"], ["Native Overlay Diff", "true"]],
    "SecurityOptions": ["name=seccomp,profile=default"],
}


def classic() -> dict[str, Any]:
    """Docker 20.10."""
    return {"/_ping": "OK", "/version": _CLASSIC_VERSION, "/info": _INFO}


def containerd() -> dict[str, Any]:
    """Docker 29, rootless, whose images are containerd's."""
    return classic() | {
        "/version": _CLASSIC_VERSION | {"Version": "29.0.1", "ApiVersion": "1.52"},
        "/info": _INFO
        | {
            "Driver": "overlayfs",
            "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"],
        },
    }


def rootless() -> dict[str, Any]:
    """Docker 20.10, rootless on a host with cgroup v1 and a kernel without overlays for users."""
    return classic() | {
        "/info": _INFO
        | {
            "CgroupDriver": "none",
            "CgroupVersion": "1",
            "MemoryLimit": False,
            "CpuCfsQuota": False,
            "Driver": "vfs",
            "DriverStatus": None,
            "DockerRootDir": "/home/me/.local/share/docker",
            "SecurityOptions": ["name=seccomp,profile=default", "name=rootless"],
        },
    }


def podman() -> dict[str, Any]:
    """Podman 4.3's service."""
    return classic() | {
        HEADERS: {"Libpod-API-Version": "4.3.1"},
        "/version": _CLASSIC_VERSION
        | {
            "Version": "4.3.1",
            "Components": [{"Name": "Podman Engine"}, {"Name": "Conmon"}, {"Name": "OCI Runtime"}],
        },
        "/info": _INFO | {"Driver": "overlay", "DriverStatus": [["Native Overlay Diff", "false"]]},
    }


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


class _TcpServer(ThreadingMixIn, TCPServer):
    daemon_threads = True


class StubEngine:
    """Answers from a socket for as long as the block lasts; notes what was asked.

    Without a socket it listens on a free port of 127.0.0.1, and ``host`` says which.
    """

    def __init__(self, socket: Path | None, answers: dict[str, Any]) -> None:
        self.requests: list[tuple[str, str, bytes]] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            known: ClassVar[dict[str, Any]] = answers

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                path = re.sub(r"^/v[0-9.]+|\?.*", "", self.path)
                requests.append((self.command, path, self.rfile.read(length)))
                found = self.known.get(path, self.known.get(f"{self.command} {path}"))
                content = json.dumps(found if found is not None else {"message": "no such"})
                self.send_response(200 if found is not None else 404)
                for name, value in self.known.get(HEADERS, {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content.encode())

            do_GET = do_POST = do_DELETE = do_PUT = answer  # noqa: N815

            def log_message(self, *_: object) -> None: ...

            def address_string(self) -> str:
                return "stub"

        self._server: _Server | _TcpServer
        if socket is None:
            self._server = _TcpServer(("127.0.0.1", 0), Handler)
            self.host = f"tcp://127.0.0.1:{self._server.server_address[1]}"
        else:
            self._server = _Server(str(socket), Handler)
            self.host = f"unix://{socket}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> "StubEngine":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
