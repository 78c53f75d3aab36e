"""The host's settings, and what really happens: uv, apt and downloads against real servers.

Each case locks with uv and downloads with ``Fetcher`` under the same settings, or has apt read an
archive over HTTP.
"""

import hashlib
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from mlruntime.ecosystems.debian.archive import Archive
from mlruntime.ecosystems.debian.reach import advice
from mlruntime.ecosystems.fetching import host_fetcher
from mlruntime.ecosystems.pypi.reach import uv_environ, uv_words
from mlruntime.ecosystems.pypi.resolver import Resolver, Target
from mlruntime.errors import HashMismatch, MlruntimeError, Unavailable, UsageError
from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources, discover
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store

from tests.unit.relays import Relay, relaying
from tests.unit.servers import SNAPSHOT, Server, debian, serving, wheel

pytestmark = pytest.mark.starts  # uv, apt, openssl
SECRET = "hunter2"
DEAD = "127.0.0.1:9"


@dataclass
class Machine:
    """A host of its own: a home, an /etc, and variables."""

    root: Path
    cache: Path

    def write(self, path: str, text: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def sources(self, **environ: str) -> Sources:
        return discover(environ, home=self.root / "home", etc=self.root / "etc")

    def lock(self, requirement: str = "thing==1", **environ: str) -> tuple[Artifact, ...]:
        sources = self.sources(**environ)
        scratch = self.root / "scratch"
        scratch.mkdir(exist_ok=True)
        base = {"PATH": os.environ["PATH"], "UV_CACHE_DIR": str(self.cache)}
        base["HOME"] = str(self.root / "home")
        with Web(sources, pauses=()) as web:
            resolver = Resolver(
                sources=sources,
                web=web,
                target=Target(python="3.11.2", glibc=(2, 36)),
                snapshot=SNAPSHOT,
                scratch=scratch,
                environ=environ | base,
            )
            return resolver.compile([requirement])

    def fetch(self, artifact: Artifact, **environ: str) -> bytes:
        store = Store(Path(os.fspath(self.root / "store")))
        fetcher = host_fetcher(store, self.sources(**environ), pauses=())
        try:
            return fetcher.fetch(artifact).read_bytes()
        finally:
            shutil.rmtree(store.root, ignore_errors=True)

    def both(self, **environ: str) -> bytes:
        """Lock, then download what was locked."""
        (artifact,) = self.lock(**environ)
        return self.fetch(artifact, **environ)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv")


@pytest.fixture
def machine(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "home").mkdir()
    # What this machine's apt is told is no matter of these tests.
    config = tmp_path / "no-apt.conf"
    config.write_text('Dir::Etc::main "/dev/null";\nDir::Etc::parts "/dev/null";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    return Machine(tmp_path, cache)


@pytest.fixture
def index() -> Iterator[Server]:
    with serving(Server()) as server:
        server.project("thing", "1")
        yield server


THING = wheel("thing", "1")


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


THE_WHEEL = Artifact(
    kind="wheel",
    name="thing",
    version="1",
    filename="thing-1-py3-none-any.whl",
    size=len(THING),
    sha256=hashlib.sha256(THING).hexdigest(),
    origin="pypi",
)


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
        with pytest.raises(Unavailable, match="UV_OFFLINE forbids"):
            attempt()
    assert index.requests == []
    assert machine.both(**environ | {"UV_OFFLINE": "0"}) == THING


# certificates


@dataclass
class Authority:
    """A company's own authority, a server's certificate by it, and one for a client."""

    folder: Path

    @property
    def bundle(self) -> Path:
        return self.folder / "ca.pem"

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "key.pem")
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("authority")
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
           "-nodes", "-days", "30"]  # fmt: skip
    for words in (
        [*new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Our own authority"],
        [*new, "-keyout", "key.pem", "-out", "server.pem", "-subj", "/CN=127.0.0.1",
         "-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:FALSE"],
        [*new, "-keyout", "me.key", "-out", "me.crt", "-subj", "/CN=me",
         "-CA", "ca.pem", "-CAkey", "ca.key"],
    ):  # fmt: skip
        subprocess.run(words, cwd=folder, check=True, capture_output=True)
    both = (folder / "me.crt").read_text() + (folder / "me.key").read_text()
    (folder / "me.pem").write_text(both)
    (folder / "only").mkdir()
    shutil.copy(folder / "ca.pem", folder / "only" / "ca.pem")
    hashed = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", "ca.pem"], cwd=folder, check=True,
        capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    (folder / "hashed").mkdir()
    shutil.copy(folder / "ca.pem", folder / "hashed" / f"{hashed}.0")
    return Authority(folder)


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


# Debian


def archive(server: Server, valid_until: str = "") -> None:
    """Serve a small Debian release."""
    packages = (
        "Package: apt\nVersion: 2.6\nArchitecture: amd64\nMaintainer: nobody\n"
        f"Filename: pool/main/a/apt/apt_2.6_amd64.deb\nSize: {len(THING)}\n"
        f"SHA256: {THE_WHEEL.sha256}\nDescription: x\n"
    ).encode()
    server.put("/debian/pool/main/a/apt/apt_2.6_amd64.deb", THING)
    debian(server, packages, valid_until)


def stanza(machine: Machine, url: str, more: str = "") -> dict[str, str]:
    text = f"Types: deb\nURIs: {url}/debian\nSuites: bookworm\nComponents: main\nTrusted: yes\n"
    return {"MLRUNTIME_DEBIAN_SOURCES": str(machine.write("a.sources", text + more))}


def packages(machine: Machine, **environ: str) -> list[Artifact]:
    read = Archive(
        machine.sources(**environ), "12", machine.root / f"apt-{len(list(machine.root.iterdir()))}"
    )
    return list(read.closure(["apt"]))


def test_apt_gets_logins_and_proxies(machine: Machine) -> None:
    with serving(Server(password=("user", SECRET))) as server, relaying(Relay("http")) as relay:
        archive(server)
        environ = stanza(machine, server.url)
        text = f"machine {server.url} login user password {SECRET}\n"
        machine.write("etc/apt/auth.conf.d/ours.conf", text)
        (found,) = packages(machine, **environ)
        assert machine.fetch(found, **environ) == THING
        assert packages(machine, **environ, http_proxy=relay.address) == [found]
        assert machine.fetch(found, **environ, http_proxy=relay.address) == THING
        assert set(relay.seen) == {f"127.0.0.1:{server.port}"}
        behind = machine.sources(**environ, http_proxy=DEAD)
        hint = advice("Could not connect to 127.0.0.1:9", behind)
        assert f"the proxy http://{DEAD} (from http_proxy)" in hint
        direct = {"http_proxy": DEAD, "no_proxy": "127.0.0.0/8"}
        assert packages(machine, **environ, **direct) == [found]
        machine.write("etc/apt/auth.conf.d/ours.conf", "")
        with pytest.raises(Unavailable, match="could not be read") as caught:
            packages(machine, **environ)
        assert "auth.conf.d" in str(caught.value.hint)
        url = server.url.replace("://", f"://user:{SECRET}@")
        assert packages(machine, **stanza(machine, url)) == [found]


def test_apt_s_own_proxies(machine: Machine) -> None:
    with serving(Server()) as server, relaying(Relay("http")) as relay:
        archive(server)
        machine.write("etc/apt/apt.conf.d/proxy", "Acquire { … };")
        dump = f'Acquire::http::Proxy "http://me:{SECRET}@{relay.address}";\n'
        environ = stanza(machine, server.url)

        def sources(said: str) -> Sources:
            return discover(
                environ | {"http_proxy": DEAD},
                home=machine.root / "home",
                etc=machine.root / "etc",
                apt_config=lambda: said,
            )

        through = sources(dump)
        read = Archive(through, "12", machine.root / "one").closure(["apt"])
        fetched = host_fetcher(Store(machine.root / "s"), through, pauses=()).fetch(read[0])
        assert fetched.read_bytes() == THING
        assert len(relay.seen) >= 2
        assert SECRET not in str(through.settings())
        direct = sources(dump + 'Acquire::http::Proxy::127.0.0.1 "DIRECT";\n')
        assert direct.network.proxies.of(server.url, "debian") is None
        assert direct.network.proxies.of(server.url, "pypi") is not None


def test_an_expired_archive_is_read_where_it_says_so(machine: Machine) -> None:
    with serving(Server()) as server:
        archive(server, "Valid-Until: Sun, 02 Nov 2025 00:00:00 UTC\n")
        with pytest.raises(Unavailable, match="could not be read") as caught:
            packages(machine, **stanza(machine, server.url))
        assert "`Check-Valid-Until: no`" in str(caught.value.hint)
        assert "a.sources" in str(caught.value.hint)
        environ = stanza(machine, server.url, "Check-Valid-Until: no\n")
        assert len(packages(machine, **environ)) == 1
        line = f"deb [trusted=yes check-valid-until=no] {server.url}/debian bookworm main\n"
        given = str(machine.write("a.list", line))
        assert len(packages(machine, MLRUNTIME_DEBIAN_SOURCES=given)) == 1


def test_an_expired_archive_in_a_directory_is_read_where_it_says_so(machine: Machine) -> None:
    served = Server()
    archive(served, "Valid-Until: Sun, 02 Nov 2025 00:00:00 UTC\n")
    for path, (_, content) in served.files.items():
        target = machine.root / "mirror" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    place = (machine.root / "mirror").as_uri()
    with pytest.raises(Unavailable, match="could not be read") as caught:
        packages(machine, **stanza(machine, place))
    assert "`Check-Valid-Until: no`" in str(caught.value.hint)
    assert len(packages(machine, **stanza(machine, place, "Check-Valid-Until: no\n"))) == 1


def test_a_snapshot_has_what_the_mirror_dropped(machine: Machine) -> None:
    with serving(Server()) as server:
        archive(server)
        environ = stanza(machine, server.url)
        (found,) = packages(machine, **environ)
        pool = "/debian/pool/main/a/apt/apt_2.6_amd64.deb"
        server.put(f"/archive/debian/20261120T000000Z/{pool.removeprefix('/debian/')}", THING)
        server.put(pool, b"other bytes")
        snapshot = f"{server.url}/archive/debian/20261120T000000Z/"
        with pytest.raises(HashMismatch):
            machine.fetch(found, **environ)
        assert machine.fetch(found, **environ, MLRUNTIME_DEBIAN_SNAPSHOT=snapshot) == THING
        del server.files[pool]
        assert machine.fetch(found, **environ, MLRUNTIME_DEBIAN_SNAPSHOT=snapshot) == THING
        with pytest.raises(Unavailable) as caught:
            machine.fetch(found, **environ)
        assert "MLRUNTIME_DEBIAN_SNAPSHOT" in str(caught.value.hint)


# Maven

SETTINGS = """\
<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0">
 <mirrors><mirror><id>corp</id><mirrorOf>*</mirrorOf><url>{url}/maven</url></mirror></mirrors>
 <servers><server><id>corp</id>{server}</server></servers>
 <proxies><proxy><host>127.0.0.1</host><port>{port}</port>
  <nonProxyHosts>{direct}</nonProxyHosts></proxy></proxies>
</settings>
"""
JAR = Artifact(
    kind="jar",
    name="g:a",
    version="1",
    filename="a-1.jar",
    size=len(THING),
    sha256=THE_WHEEL.sha256,
    origin="maven",
)


def test_java_s_own_proxies(machine: Machine) -> None:
    with serving(Server()) as server, relaying(Relay("http")) as relay:
        server.put("/maven/g/a/1/a-1.jar", THING)
        options = f"-Xmx1g -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort={relay.port}"
        environ = {"MLRUNTIME_MAVEN_REPOSITORY": f"{server.url}/maven"}
        assert machine.fetch(JAR, **environ, MAVEN_OPTS=options) == THING
        assert relay.seen == [f"127.0.0.1:{server.port}"]
        options += " -Dhttp.nonProxyHosts=localhost|127.*"
        assert machine.fetch(JAR, **environ, JAVA_TOOL_OPTIONS=options) == THING
        assert len(relay.seen) == 1
    store = "-Djavax.net.ssl.trustStore=/corp.jks"
    (found,) = [f for f in machine.sources(MAVEN_OPTS=store).settings() if not f.works]
    assert (found.setting, "/corp.jks" in found.value) == ("MAVEN_OPTS", True)


def test_maven_s_settings(machine: Machine) -> None:
    with serving(Server(password=("user", SECRET))) as server, relaying(Relay("http")) as relay:
        server.put("/maven/g/a/1/a-1.jar", THING)
        login = "<username>user</username><password>${env.CORP}</password>"

        def settings(server_text: str, port: int = relay.port, direct: str = "*.corp") -> None:
            text = SETTINGS.format(url=server.url, server=server_text, port=port, direct=direct)
            machine.write("home/.m2/settings.xml", text)

        settings(login)
        assert machine.fetch(JAR, CORP=SECRET) == THING
        assert relay.seen == [f"127.0.0.1:{server.port}"]
        settings(login, port=9, direct="localhost|127.*")
        assert machine.fetch(JAR, CORP=SECRET) == THING
        header = (
            "<configuration><httpHeaders><property><name>Private-Token</name>"
            f"<value>{SECRET}</value></property></httpHeaders></configuration>"
        )
        settings(header, port=9, direct="127.*|localhost")
        with serving(Server(files=server.files)) as other:
            place = f"http://localhost:{other.port}/maven/g/a/1/a-1.jar"
            server.statuses = [(302, {"Location": place})]
            assert machine.fetch(JAR) == THING
            assert [h.get("Private-Token") for h in (*server.headers[-1:], *other.headers)] == [
                SECRET,
                None,
            ]
        settings("<username>user</username><password>{COQLCE6DU6GtcS5P=}</password>")
        (found,) = [f for f in machine.sources().settings() if not f.works]
        assert "encrypted" in found.value
        with pytest.raises(Unavailable, match="requires a valid login"):
            machine.fetch(JAR)
