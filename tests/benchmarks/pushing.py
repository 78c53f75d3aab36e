"""A registry on loopback (Debian's docker-registry), and the time it takes to push to it."""

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_READY_SECONDS = 20


@contextmanager
def registry(work: Path) -> Iterator[str]:
    """Run a registry for a ``with`` block; yield ``HOST:PORT``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder, config = work / "registry", work / "registry.yml"
    folder.mkdir()
    config.write_text(_CONFIG.format(folder=folder, port=port), encoding="utf-8")
    server = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL)
    try:
        _await(f"http://127.0.0.1:{port}/v2/", server)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _await(url: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def push_layout(layout: Path, target: str) -> float:
    """Push an OCI layout as it is, nothing compressed anew; return the seconds it took."""
    return seconds(
        "skopeo",
        "copy",
        "--quiet",
        "--dest-tls-verify=false",
        f"oci:{layout}",
        f"docker://{target}",
    )


def seconds(*command: str) -> float:
    """Return how long a command took."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
