"""An export carried to a machine without a network: what follows there asks nobody for anything."""

import hashlib
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cli import main
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact

from tests.unit.cli import test_cli_errors as toy
from tests.unit.cli.test_cli_errors import root as root
from tests.unit.debs import deb
from tests.unit.servers import Server, debian, serving, wheel

pytestmark = pytest.mark.starts  # apt-config
JAR = b"PK not really a jar" * 1000
STACK = """\
layers:
  - {name: settings, source: files, files: settings}
  - {name: jars, source: jars, into: opt/jars}
config: {user: "1000:1000", workdir: /, entrypoint: [tini], command: [sh], environment: {}}
"""


def artifact(kind: str, name: str, filename: str, content: bytes, origin: str) -> Artifact:
    sha256 = hashlib.sha256(content).hexdigest()
    return Artifact(kind=kind, name=name, version="1", filename=filename, size=len(content),
                    sha256=sha256, origin=origin)  # fmt: skip


def locked(root: Path, server: Server) -> Lock:
    """Lock a jar, a wheel and a Debian package, all of which a server has."""
    server.put("/maven/g/toy/1/toy-1.jar", JAR)
    server.project("thing", "1")
    package, path = deb(root.parent, "tool", {"./usr/bin/tool": b"x" * 500})
    pool = f"pool/main/t/tool/{package.filename}"
    server.put(f"/debian/{pool}", path.read_bytes())
    debian(server, b"")
    (root / "images/layers.yaml").write_text(STACK, encoding="utf-8")
    lock = replace(
        toy.lock(root),
        os=(replace(package, origin=f"debian:bookworm:{pool}"),),
        python=(
            artifact("wheel", "thing", "thing-1-py3-none-any.whl", wheel("thing", "1"), "pypi"),
        ),
        jars=(artifact("jar", "g:toy", "toy-1.jar", JAR, "maven"),),
    )
    (cpu,) = lock.variants
    lock = replace(lock, variants=(replace(cpu, native=()),))
    (root / toy.LOCKED).write_text(lock.to_json(), encoding="utf-8")
    return lock


@pytest.fixture
def verb(root: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*words: str) -> Any:
        code = main(["--root", str(root), *words, "--json"])
        said = capfd.readouterr()
        assert code == 0, said.err
        return json.loads(said.out)

    return run


@pytest.fixture
def settings(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what points every package manager at one server."""
    monkeypatch.setenv("HOME", str(root.parent))
    # This machine's own, which may lead elsewhere.
    for name in ("http_proxy", "https_proxy", "all_proxy", "UV_INDEX", "UV_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    config = root.parent / "no-apt.conf"
    config.write_text('Dir::Etc::main "/dev/null";\nDir::Etc::parts "/dev/null";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))

    def to(url: str) -> None:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"{url}/simple")
        monkeypatch.setenv("MLRUNTIME_MAVEN_REPOSITORY", f"{url}/maven")
        file = root.parent / "a.sources"
        file.write_text(
            f"Types: deb\nURIs: {url}/debian\nSuites: bookworm\nComponents: main\nTrusted: yes\n"
        )
        monkeypatch.setenv("MLRUNTIME_DEBIAN_SOURCES", str(file))

    return to


@pytest.fixture
def unplug(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[object]]:
    """Return what takes the network away; it returns who is asked for all the same."""

    def unplugged() -> list[object]:
        asked: list[object] = []

        def refuse(*about: object, **_: object) -> None:
            asked.append(about)
            raise OSError("there is no network here")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        return asked

    return unplugged


def test_a_lock_is_built_without_a_network(
    root: Path,
    verb: Callable[..., Any],
    settings: Callable[[str], None],
    unplug: Callable[[], list[object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    carried = root.parent / "carried"
    with serving(Server()) as server:
        lock = locked(root, server)
        settings(server.url)
        at_home = verb("build", "0.1-ml")
        exported = verb("store", "export", "0.1-ml", "--output", str(carried))
        size = sum(a.size for a in (*lock.os, *lock.python, *lock.jars))
        assert (exported["files"], exported["size"], exported["uncompiled"]) == (3, size, [])
        settings(server.url.replace("127.0.0.1", "packages.example"))
    monkeypatch.setenv("MLRUNTIME_STORE", str(root.parent / "elsewhere"))
    monkeypatch.setenv("SSL_CERT_FILE", "/of/another/machine.pem")
    asked = unplug()
    assert verb("store", "import", str(carried))["locks"] == ["0.1-ml"]
    assert verb("lock", "0.1-ml", "--check")["stale"] == []
    built = verb("build", "0.1-ml", "--output", str(root.parent / "layout"))
    assert [layer["cached"] for layer in built["layers"]] == [False] * 2
    assert built["digest"] == at_home["digest"]
    (listed,) = verb("store", "list")["runtimes"]
    assert listed["runtime"] == "0.1-ml"
    layers = sum(layer["size"] for layer in built["layers"])
    assert verb("size", "0.1-ml")["size"] == layers
    assert asked == []


def test_what_was_not_carried_is_named(
    root: Path,
    settings: Callable[[str], None],
    unplug: Callable[[], list[object]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The test above has a network that is really gone."""
    with serving(Server()) as server:
        locked(root, server)
    settings("http://packages.example")
    asked = unplug()
    assert main(["--root", str(root), "build", "0.1-ml"]) == 6
    assert "packages.example" in capfd.readouterr().err
    assert asked
