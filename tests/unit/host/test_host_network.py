"""The host's settings, and what really happens: uv and downloads against real servers.

Each case locks with uv and downloads with ``Fetcher`` under the same settings.
"""

import os
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from mlruntime.ecosystems.pypi.reach import uv_environ, uv_words
from mlruntime.errors import MlruntimeError, Unavailable, UsageError
from mlruntime.fetch.web import Web

from tests.unit.host.machines import DEAD, SECRET, THE_WHEEL, THING, Authority, Machine
from tests.unit.relays import Relay, relaying
from tests.unit.servers import Server, serving

pytestmark = pytest.mark.starts  # uv, openssl


# logins


def netrc(machine: Machine, index: Server) -> dict[str, str]:
    text = f"machine 127.0.0.1 login user password {SECRET}\n"
    machine.write("home/.netrc", text).chmod(0o600)
    return {"UV_DEFAULT_INDEX": f"{index.url}/simple"}


def elsewhere(machine: Machine, index: Server) -> dict[str, str]:
    path = machine.write("secrets/netrc", f"default login user password {SECRET}\n")
    return {"UV_DEFAULT_INDEX": f"{index.url}/simple", "NETRC": str(path)}


def variables(_: Machine, index: Server) -> dict[str, str]:
    return {
        "UV_DEFAULT_INDEX": f"our-corp={index.url}/simple",
        "UV_INDEX_OUR_CORP_USERNAME": "user",
        "UV_INDEX_OUR_CORP_PASSWORD": SECRET,
    }


def stored(machine: Machine, index: Server) -> dict[str, str]:
    machine.write(
        "home/.local/share/uv/credentials/credentials.toml",
        f'[[credential]]\nservice = "{index.url}/"\nusername = "user"\nscheme = "basic"\n'
        f'password = "{SECRET}"\n',
    )
    return {"UV_DEFAULT_INDEX": f"{index.url}/simple"}


def uv_toml(machine: Machine, index: Server) -> dict[str, str]:
    text = f'[[index]]\nname = "corp"\nurl = "{index.url}/simple"\ndefault = true\n'
    machine.write("home/.config/uv/uv.toml", text)
    return {"UV_INDEX_CORP_USERNAME": "user", "UV_INDEX_CORP_PASSWORD": SECRET}


def address(_: Machine, index: Server) -> dict[str, str]:
    url = index.url.replace("://", f"://user:{SECRET}@")
    return {"PIP_INDEX_URL": f"{url}/simple"}


def pip_conf(machine: Machine, index: Server) -> dict[str, str]:
    url = index.url.replace("://", f"://user:{SECRET}@")
    machine.write("home/.config/pip/pip.conf", f"[global]\nindex-url = {url}/simple\n")
    return {}


@pytest.mark.parametrize("given", [netrc, elsewhere, variables, stored, uv_toml, address, pip_conf])
def test_a_login_is_used_by_the_lock_and_by_downloads(
    machine: Machine, index: Server, given: object
) -> None:
    index.password = ("user", SECRET)
    environ = given(machine, index)  # type: ignore[operator]
    assert machine.both(**environ) == THING
    sources = machine.sources(**environ)
    assert SECRET not in repr(sources)
    assert SECRET not in " ".join(uv_words(sources))
    assert SECRET not in str(sources.settings())


def test_a_wrong_login_is_told_as_one_and_not_shown(machine: Machine, index: Server) -> None:
    index.password = ("user", "another")
    environ = variables(machine, index)
    for attempt in (lambda: machine.lock(**environ), lambda: machine.fetch(THE_WHEEL, **environ)):
        with pytest.raises(MlruntimeError) as caught:
            attempt()
        assert type(caught.value) is Unavailable
        assert caught.value.why == "HTTP status 401, with the login of UV_INDEX_OUR_CORP_USERNAME"
        assert SECRET not in str(caught.value)
    with pytest.raises(Unavailable, match="requires a valid login") as caught:
        machine.fetch(THE_WHEEL, UV_DEFAULT_INDEX=f"{index.url}/simple")
    assert caught.value.why == "HTTP status 401, with no login"


def test_a_login_does_not_follow_a_redirect_to_another_host(
    machine: Machine, index: Server
) -> None:
    index.password = ("user", SECRET)
    page = index.files["/simple/thing/"]
    with serving(Server()) as other:
        other.files = dict(index.files)
        moved = page[1].replace(
            b"../files/", other.url.replace("127.0.0.1", "localhost").encode() + b"/simple/files/"
        )
        index.put("/simple/thing/", moved, page[0])
        assert machine.fetch(THE_WHEEL, **variables(machine, index)) == THING
        assert other.requests == [("/simple/files/thing-1-py3-none-any.whl", None)]


def test_a_keyring_is_asked(
    machine: Machine, index: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.password = ("user", SECRET)
    asked = f"get {index.url}/simple/ user"
    text = f'#!/bin/sh\n[ "$*" = "{asked}" ] && echo {SECRET}\n'
    program = machine.write("bin/keyring", text)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    url = index.url.replace("://", "://user@")
    environ = {"UV_DEFAULT_INDEX": f"{url}/simple", "PATH": os.environ["PATH"]}
    assert machine.both(UV_KEYRING_PROVIDER="subprocess", **environ) == THING
    with pytest.raises(Unavailable, match="requires a valid login"):
        machine.fetch(THE_WHEEL, **environ)


# proxies


@pytest.mark.parametrize(
    ("variable", "scheme"),
    [("http_proxy", ""), ("HTTP_PROXY", "http://"), ("all_proxy", "http://")],
)
def test_a_proxy_is_used_by_the_lock_and_by_downloads(
    machine: Machine, index: Server, variable: str, scheme: str
) -> None:
    with relaying(Relay("http", password=f"me:{SECRET}")) as relay:
        environ = {
            "UV_DEFAULT_INDEX": f"{index.url}/simple",
            variable: f"{scheme}me:{SECRET}@{relay.address}",
        }
        assert machine.both(**environ) == THING
        assert set(relay.seen) == {f"127.0.0.1:{index.port}"}
        assert len(relay.seen) >= 3
        environ[variable] = f"{scheme}me:wrong@{relay.address}"
        with pytest.raises(Unavailable, match="the proxy refused the request") as caught:
            machine.fetch(THE_WHEEL, **environ)
        assert "407" in str(caught.value)
        assert variable in str(caught.value)
        assert "wrong" not in str(caught.value)
    assert SECRET not in str(machine.sources(**environ).settings())


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks"])
def test_a_socks_proxy_is_used_by_the_lock_and_by_downloads(
    machine: Machine, index: Server, scheme: str
) -> None:
    with relaying(Relay("socks")) as relay:
        environ = {
            "UV_DEFAULT_INDEX": f"{index.url}/simple",
            "ALL_PROXY": f"{scheme}://{relay.address}/",
        }
        assert machine.both(**environ) == THING
        assert set(relay.seen) == {f"127.0.0.1:{index.port}"}


def test_a_proxy_of_an_unknown_kind_is_named(machine: Machine, index: Server) -> None:
    environ = {"UV_DEFAULT_INDEX": f"{index.url}/simple", "ALL_PROXY": f"socks4://{DEAD}"}
    for attempt in (lambda: machine.lock(**environ), lambda: machine.fetch(THE_WHEEL, **environ)):
        with pytest.raises(Unavailable, match="ALL_PROXY names a proxy that cannot be used"):
            attempt()
    (found,) = [f for f in machine.sources(**environ).settings() if f.setting == "ALL_PROXY"]
    assert (found.works, found.needed) == (False, True)


@pytest.mark.parametrize("entry", ["127.0.0.0/8", "127.0.0.1:{port}", "10.0.0.1, 127.0.0.1", "*"])
def test_exceptions_are_reached_directly(machine: Machine, index: Server, entry: str) -> None:
    environ = {
        "UV_DEFAULT_INDEX": f"{index.url}/simple",
        "HTTP_PROXY": f"http://{DEAD}",
        "NO_PROXY": entry.format(port=index.port),
    }
    assert machine.both(**environ) == THING


def test_a_dead_proxy_is_named(machine: Machine, index: Server) -> None:
    environ = {"UV_DEFAULT_INDEX": f"{index.url}/simple", "HTTP_PROXY": f"http://{DEAD}"}
    with pytest.raises(Unavailable) as caught:
        machine.fetch(THE_WHEEL, **environ)
    assert f"through the proxy http://{DEAD} (from HTTP_PROXY)" in str(caught.value)


def test_a_part_s_own_proxy_is_its_own(machine: Machine, index: Server) -> None:
    with relaying(Relay("http")) as relay:
        environ = {"UV_DEFAULT_INDEX": f"{index.url}/simple", "PIP_PROXY": relay.address}
        assert machine.both(**environ, http_proxy=DEAD) == THING
        assert relay.seen
        proxies = machine.sources(**environ).network.proxies
        assert proxies.of(index.url, "maven") is None


def test_offline_means_that_no_index_is_asked(machine: Machine, index: Server) -> None:
    environ = {"UV_DEFAULT_INDEX": f"{index.url}/simple", "UV_OFFLINE": "1"}
    for attempt in (lambda: machine.lock(**environ), lambda: machine.fetch(THE_WHEEL, **environ)):
        with pytest.raises(Unavailable, match=r"UV_OFFLINE.* forbids"):
            attempt()
    assert index.requests == []
    assert machine.both(**environ | {"UV_OFFLINE": "0"}) == THING


# certificates


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SSL_CERT_FILE", "ca.pem"),
        ("REQUESTS_CA_BUNDLE", "ca.pem"),
        ("CURL_CA_BUNDLE", "ca.pem"),
        ("PIP_CERT", "only"),
        ("SSL_CERT_DIR", "hashed"),
        ("UV_INSECURE_HOST", ""),
        ("PIP_TRUSTED_HOST", ""),
    ],
)
def test_authorities_are_trusted_by_the_lock_and_by_downloads(
    machine: Machine, authority: Authority, variable: str, value: str
) -> None:
    with serving(Server(), authority.server()) as index:
        index.project("thing", "1")
        environ = {"UV_DEFAULT_INDEX": f"{index.url}/simple"}
        with pytest.raises(Unavailable, match="certificate is not trusted"):
            machine.fetch(THE_WHEEL, **environ)
        given = str(authority.folder / value) if value else "127.0.0.1"
        assert machine.both(**environ, **{variable: given}) == THING


def test_the_client_certificate_is_shown(machine: Machine, authority: Authority) -> None:
    context = authority.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.bundle)
    with serving(Server(), context) as index:
        index.project("thing", "1")
        environ = {
            "UV_DEFAULT_INDEX": f"{index.url}/simple",
            "SSL_CERT_FILE": str(authority.bundle),
        }
        with pytest.raises(Unavailable):
            machine.fetch(THE_WHEEL, **environ)
        environ["SSL_CLIENT_CERT"] = str(authority.folder / "me.pem")
        assert machine.both(**environ) == THING
    with pytest.raises(UsageError, match="SSL_CLIENT_CERT names a file that is not there"):
        machine.sources(SSL_CLIENT_CERT="/nowhere.pem")


# time limits


def test_time_limits(machine: Machine, index: Server) -> None:
    environ = {"UV_DEFAULT_INDEX": f"{index.url}/simple", "UV_HTTP_TIMEOUT": "7"}
    sources = machine.sources(**environ)
    assert sources.network.timeout == 7
    assert uv_environ({}, sources)["UV_HTTP_TIMEOUT"] == "7"
    assert machine.sources(PIP_DEFAULT_TIMEOUT="180").network.timeout == 180
    bad = machine.sources(UV_HTTP_TIMEOUT="soon")
    assert [f.works for f in bad.settings() if f.setting == "UV_HTTP_TIMEOUT"] == [False]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_server_that_says_when_is_asked_again_then(
    machine: Machine, index: Server, form: str
) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    index.statuses = [(429, {"Retry-After": "40" if form == "seconds" else when})]
    slept: list[float] = []
    with Web(machine.sources(), pauses=(1,), sleep=slept.append) as web:
        assert web.text(f"{index.url}/simple/thing/") is not None
    (pause,) = slept
    assert 35 <= pause <= 40


def test_a_server_that_asks_for_an_hour_is_not_waited_for(machine: Machine, index: Server) -> None:
    index.statuses = [(503, {"Retry-After": "3600"})]
    late = pytest.raises(Unavailable, match="asks clients to wait")
    with Web(machine.sources(), sleep=lambda _: None) as web, late as caught:
        web.text(f"{index.url}/simple/thing/")
    assert caught.value.why == "HTTP status 503, in 3600 s (Retry-After)"
