"""Each name of the second table of docs/host-settings.md, set alone on a host: what it changes."""

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mlruntime.engine.docker.endpoint import endpoints
from mlruntime.host.settings import discover
from mlruntime.host.settings.conda import conda_settings
from mlruntime.host.settings.containers import registry_logins
from mlruntime.host.settings.table import OTHER_ROWS

from tests.documents import CHECKOUT, text_of

ENGINE = "tcp://e.example:2376"
META = f"contexts/meta/{hashlib.sha256(b'mine').hexdigest()}/meta.json"
CONTEXT = json.dumps({"Endpoints": {"docker": {"Host": ENGINE}}})
CURRENT = json.dumps({"currentContext": "mine"})
LOGIN = ("user", "hunter2")
AUTHS = json.dumps({"auths": {"r.example": {"auth": base64.b64encode(b"user:hunter2").decode()}}})
HELPER = '#!/bin/sh\necho \'{"Username": "user", "Secret": "hunter2"}\'\n'
CHANNEL = "https://i.example/toys"
Look = Callable[[Mapping[str, str], Path], Any]


def engine(environ: Mapping[str, str], root: Path) -> str:
    return endpoints(environ, root / "home")[0].host


def checked(environ: Mapping[str, str], root: Path) -> bool | None:
    tls = endpoints(environ, root / "home")[0].tls
    return tls and tls.verify


def authority(environ: Mapping[str, str], root: Path) -> list[str | None] | None:
    tls = endpoints(environ, root / "home")[0].tls
    return tls and [path and path.name for path in (tls.authority, tls.certificate, tls.key)]


def login(environ: Mapping[str, str], root: Path) -> tuple[str, str | None] | None:
    found = registry_logins(environ, root / "home").of("r.example")
    return found and (found.user, found.password)


def channel(environ: Mapping[str, str], root: Path) -> str | None:
    found = conda_settings(environ, root / "home", root / "etc")
    return dict(found.named).get("toys")


def alias(environ: Mapping[str, str], root: Path) -> str:
    return conda_settings(environ, root / "home", root / "etc").alias


@dataclass(frozen=True)
class Case:
    """A name of the table, a host on which it is set, and what is then found."""

    name: str
    look: Look
    value: Any
    environ: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)


HOST = {"DOCKER_HOST": ENGINE}
CASES = [
    Case("DOCKER_HOST", engine, ENGINE, HOST),
    Case("DOCKER_TLS_VERIFY", checked, True, {"DOCKER_TLS_VERIFY": "1"}, beside=HOST),
    *(
        Case(name, authority, ["ca.pem", "cert.pem", "key.pem"], {"DOCKER_CERT_PATH": "{root}/tls"},
             {f"tls/{file}": "x" for file in ("ca.pem", "cert.pem", "key.pem")}, HOST)
        for name in ("DOCKER_CERT_PATH", "ca.pem", "cert.pem", "key.pem")
    ),
    Case("DOCKER_CONTEXT", engine, ENGINE, {"DOCKER_CONTEXT": "mine"},
         {f"home/.docker/{META}": CONTEXT}),
    *(
        Case(name, engine, ENGINE,
             files={f"home/.docker/{META}": CONTEXT, "home/.docker/config.json": CURRENT})
        for name in ("currentContext", "config.json", "~/.docker")
    ),
    Case("DOCKER_CONFIG", engine, ENGINE, {"DOCKER_CONFIG": "{root}/d"},
         {f"d/{META}": CONTEXT, "d/config.json": CURRENT}),
    Case("DOCKER_CONFIG", login, LOGIN, {"DOCKER_CONFIG": "{root}/d"}, {"d/config.json": AUTHS}),
    Case("auths", login, LOGIN, files={"home/.docker/config.json": AUTHS}),
    *(
        Case(name, login, LOGIN, files={"home/.docker/config.json": json.dumps({name: value})})
        for name, value in (("credHelpers", {"r.example": "mine"}), ("credsStore", "mine"))
    ),
    Case("auth.json", login, LOGIN, {"XDG_RUNTIME_DIR": "{root}/run"},
         {"run/containers/auth.json": AUTHS}),
    Case("REGISTRY_AUTH_FILE", login, LOGIN, {"REGISTRY_AUTH_FILE": "{root}/a"}, {"a": AUTHS}),
    Case("MLRUNTIME_CONDA_CHANNELS", channel, CHANNEL,
         {"MLRUNTIME_CONDA_CHANNELS": f"toys={CHANNEL}"}),
    Case("CONDA_CHANNEL_ALIAS", alias, CHANNEL, {"CONDA_CHANNEL_ALIAS": CHANNEL}),
    Case("CONDARC", alias, CHANNEL, {"CONDARC": "{root}/c"}, {"c": f"channel_alias: {CHANNEL}\n"}),
    Case("channel_alias", alias, CHANNEL,
         files={"etc/conda/.condarc": f"channel_alias: {CHANNEL}\n"}),
    *(
        Case(name, channel, CHANNEL,
             files={"home/.condarc": "custom_channels: {toys: 'https://i.example'}\n"})
        for name in (".condarc", "custom_channels")
    ),
]  # fmt: skip


@pytest.mark.starts  # a credential helper
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} {case.look.__name__}")
def test_each_name_of_the_other_table_counts(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "bin/docker-credential-mine"
    for name, text in {"bin/docker-credential-mine": HELPER, **case.files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(helper.parent), prepend=os.pathsep)
    given = {name: text.replace("{root}", str(tmp_path)) for name, text in case.environ.items()}
    (tmp_path / "bare").mkdir()
    assert case.look(case.beside, tmp_path / "bare") != case.value
    assert case.look({**case.beside, **given}, tmp_path) == case.value


def test_each_name_of_the_other_table_has_a_case() -> None:
    names = {name for row in OTHER_ROWS for name in re.findall("`([^`]+)`", row.setting + row.does)}
    assert names == {case.name for case in CASES}


def test_curl_s_own_file_is_not_followed_and_that_is_said(tmp_path: Path) -> None:
    bare = discover({}, home=tmp_path, etc=tmp_path)
    (tmp_path / ".curlrc").write_text("proxy = http://p.example:3128\ninsecure\n")
    assert discover({"CURL_HOME": str(tmp_path)}, home=tmp_path, etc=tmp_path).found == bare.found
    _, _, said = text_of(CHECKOUT / "docs/host-settings.md").partition("## Not followed")
    assert "`~/.curlrc`" in said and "`CURL_HOME`" in said
