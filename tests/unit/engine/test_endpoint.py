"""Which engine is talked to, from what docker's own client reads on a host."""

import hashlib
import json
from pathlib import Path

import pytest
from mlruntime.engine import Mount
from mlruntime.engine.docker.connection import first_of
from mlruntime.engine.docker.endpoint import Endpoint, endpoints
from mlruntime.errors import Unavailable, UsageError

from tests.unit.stub_engine import StubEngine, classic, containerd, podman


def context(home: Path, name: str, host: str, **more: object) -> Path:
    """Write a docker context as the docker command does; return its folder for certificates."""
    ident = hashlib.sha256(name.encode()).hexdigest()
    meta = home / ".docker/contexts/meta" / ident
    meta.mkdir(parents=True)
    found = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, **more}}}
    (meta / "meta.json").write_text(json.dumps(found))
    return home / ".docker/contexts/tls" / ident / "docker"


def current(home: Path, name: str) -> None:
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker/config.json").write_text(json.dumps({"currentContext": name}))


def hosts(environ: dict[str, str], home: Path) -> list[str]:
    return [endpoint.host for endpoint in endpoints(environ, home)]


def test_docker_host_comes_before_contexts_as_for_the_docker_command(tmp_path: Path) -> None:
    context(tmp_path, "mine", "unix:///mine.sock")
    context(tmp_path, "other", "unix:///other.sock")
    current(tmp_path, "mine")
    assert hosts({}, tmp_path) == ["unix:///mine.sock"]
    assert hosts({"DOCKER_CONTEXT": "other"}, tmp_path) == ["unix:///other.sock"]
    environ = {"DOCKER_CONTEXT": "other", "DOCKER_HOST": "tcp://engine:2375"}
    assert hosts(environ, tmp_path) == ["tcp://engine:2375"]
    assert hosts({"DOCKER_HOST": "engine:2375"}, tmp_path) == ["tcp://engine:2375"]
    assert hosts({"DOCKER_CONTEXT": "default"}, tmp_path)[0] == "unix:///var/run/docker.sock"


def test_docker_config_moves_the_contexts(tmp_path: Path) -> None:
    context(tmp_path, "mine", "unix:///mine.sock")
    current(tmp_path, "mine")
    environ = {"DOCKER_CONFIG": str(tmp_path / ".docker")}
    (found,) = endpoints(environ, tmp_path / "elsewhere")
    assert found.host == "unix:///mine.sock"
    assert found.source == f"context 'mine': currentContext in {tmp_path}/.docker/config.json"


def test_without_configuration_usual_sockets_are_tried_in_turn(tmp_path: Path) -> None:
    assert hosts({"XDG_RUNTIME_DIR": "/run/user/7"}, tmp_path) == [
        "unix:///var/run/docker.sock",
        "unix:///run/user/7/docker.sock",
        f"unix://{tmp_path}/.docker/run/docker.sock",
        "unix:///run/user/7/podman/podman.sock",
        "unix:///run/podman/podman.sock",
    ]


def test_certificates_come_from_the_context_or_from_the_variables(tmp_path: Path) -> None:
    folder = context(tmp_path, "far", "tcp://far:2376")
    folder.mkdir(parents=True)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (folder / name).write_text("x")
    (found,) = endpoints({"DOCKER_CONTEXT": "far"}, tmp_path)
    assert found.tls is not None
    assert (found.tls.authority, found.tls.verify) == (folder / "ca.pem", True)
    environ = {"DOCKER_HOST": "tcp://x:2376", "DOCKER_TLS_VERIFY": "1"}
    (found,) = endpoints(environ | {"DOCKER_CERT_PATH": str(folder)}, tmp_path)
    assert found.tls is not None
    assert found.tls.key == folder / "key.pem"
    (found,) = endpoints({"DOCKER_HOST": "tcp://x:2375"}, tmp_path)
    assert found.tls is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no docker context 'mine'"),
        ("{", "cannot read"),
        ("[]", "it is not a JSON object"),
        ('{"Endpoints": {}}', "docker context 'mine' names no host"),
    ],
)
def test_a_context_that_cannot_be_used_is_told(text: str | None, said: str, tmp_path: Path) -> None:
    folder = context(tmp_path, "mine", "unix:///x").parents[2] / "meta"
    meta = folder / hashlib.sha256(b"mine").hexdigest() / "meta.json"
    if text is None:
        meta.unlink()
    else:
        meta.write_text(text)
    with pytest.raises(UsageError) as caught:
        endpoints({"DOCKER_CONTEXT": "mine"}, tmp_path)
    assert said in str(caught.value)


def test_a_broken_config_of_the_docker_command_is_told(tmp_path: Path) -> None:
    current(tmp_path, "x")
    (tmp_path / ".docker/config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot read"):
        endpoints({}, tmp_path)


def test_no_engine_says_all_that_was_tried_and_which_setting_named_it(tmp_path: Path) -> None:
    (tmp_path / "shut").write_text("no socket")
    tried = [
        Endpoint(host=f"unix://{tmp_path}/none.sock", source="the default"),
        Endpoint(host=f"unix://{tmp_path}/shut", source="context 'mine'"),
        Endpoint(host="tcp://127.0.0.1:9", source="DOCKER_HOST"),
    ]
    with pytest.raises(Unavailable) as caught:
        first_of(tried)
    why = str(caught.value.why)
    assert f"unix://{tmp_path}/none.sock (the default): no such file" in why
    assert f"unix://{tmp_path}/shut (context 'mine'): " in why
    assert "tcp://127.0.0.1:9 (DOCKER_HOST): " in why
    assert "docker context use" in str(caught.value.hint)


def test_an_address_over_ssh_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "paramiko", None)
    with pytest.raises(Unavailable) as caught:
        first_of([Endpoint(host="ssh://me@far", source="DOCKER_HOST")])
    assert "ssh://me@far (DOCKER_HOST) needs the Python package paramiko" in str(caught.value)
    assert "docker[ssh]" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("answers", "product", "store", "rootless"),
    [
        (classic(), "Docker Engine", "classic", False),
        (containerd(), "Docker Engine", "containerd", True),
        (podman(), "Podman", "podman", False),
    ],
)
def test_an_engine_is_known_by_what_it_says_of_itself(
    answers: dict[str, object], product: str, store: str, rootless: bool, tmp_path: Path
) -> None:
    """Reached by a context; there is nothing at /var/run/docker.sock of the stub's."""
    home = tmp_path
    with StubEngine(home / "engine.sock", answers):
        context(home, "mine", f"unix://{home}/engine.sock")
        current(home, "mine")
        with first_of(endpoints({}, home)) as engine:
            info = engine.info()
    assert (info.product, info.store, info.rootless) == (product, store, rootless)
    assert info.endpoint.startswith(f"unix://{home}/engine.sock (context 'mine'")
    assert not info.remote


@pytest.mark.parametrize(("answers", "asked"), [(classic(), False), (podman(), True)])
def test_volumes_are_filled_before_files_are_put_there(
    answers: dict[str, object], asked: bool, tmp_path: Path
) -> None:
    """Podman copies what the image has only when it is asked to, and into empty volumes."""
    answers = answers | {
        "/containers/create": {"Id": "1"},
        "/libpod/containers/mine/init": {},
        "/containers/mine/archive": {},
        "/containers/mine/start": {},
    }
    settings = Mount(source="conf", target="/etc/spark", kind="volume")
    files = {"/etc/spark": lambda: iter([b""])}
    with StubEngine(tmp_path / "engine.sock", answers) as stub:
        place = Endpoint(host=f"unix://{tmp_path}/engine.sock", source="here")
        with first_of([place]) as engine:
            engine.start("image", ["true"], name="mine", mounts=[settings], files=files)
        done = [(method, path) for method, path, _ in stub.requests if method != "GET"]
    expected = [
        ("POST", "/containers/create"),
        *([("POST", "/libpod/containers/mine/init")] if asked else []),
        ("PUT", "/containers/mine/archive"),
        ("POST", "/containers/mine/start"),
    ]
    assert done == expected
