"""apt and downloads against real archives, under the settings of a host."""

import ssl

import pytest
from mlruntime.ecosystems.debian.archive import Archive
from mlruntime.ecosystems.debian.reach import advice
from mlruntime.ecosystems.fetching import host_fetcher
from mlruntime.errors import HashMismatch, Unavailable
from mlruntime.host.settings import Sources, discover
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store

from tests.unit.host.machines import DEAD, SECRET, THE_WHEEL, THING, Authority, Machine
from tests.unit.relays import Relay, relaying
from tests.unit.servers import Server, debian, serving

pytestmark = pytest.mark.starts  # apt, openssl


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


# archives by TLS, as a company has them


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SSL_CERT_FILE", "ca.pem"),
        ("CURL_CA_BUNDLE", "ca.pem"),
        ("PIP_CERT", "only"),
        ("SSL_CERT_DIR", "hashed"),
        ("UV_INSECURE_HOST", ""),
    ],
)
def test_apt_trusts_the_authorities_that_downloads_trust(
    machine: Machine, authority: Authority, variable: str, value: str
) -> None:
    with serving(Server(), authority.server()) as server:
        archive(server)
        given = str(authority.folder / value) if value else "127.0.0.1"
        environ = stanza(machine, server.url) | {variable: given}
        (found,) = packages(machine, **environ)
        assert machine.fetch(found, **environ) == THING


def test_an_authority_that_nobody_named_is_told(machine: Machine, authority: Authority) -> None:
    with serving(Server(), authority.server()) as server:
        archive(server)
        environ = stanza(machine, server.url)
        with pytest.raises(Unavailable, match="could not be read") as caught:
            packages(machine, **environ)
        assert caught.value.hint == "name your proxy's CA with --ca-bundle or SSL_CERT_FILE"
        assert server.requests == []


def test_apt_shows_the_client_certificate(machine: Machine, authority: Authority) -> None:
    context = authority.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.bundle)
    with serving(Server(), context) as server:
        archive(server)
        environ = stanza(machine, server.url) | {"SSL_CERT_FILE": str(authority.bundle)}
        with pytest.raises(Unavailable, match="could not be read"):
            packages(machine, **environ)
        environ["SSL_CLIENT_CERT"] = str(authority.folder / "me.pem")
        (found,) = packages(machine, **environ)
        assert machine.fetch(found, **environ) == THING


@pytest.mark.parametrize("variable", ["https_proxy", "ALL_PROXY"])
def test_apt_goes_through_the_proxy_for_https(
    machine: Machine, authority: Authority, variable: str
) -> None:
    relay_of = relaying(Relay("http", password=f"me:{SECRET}"))
    with serving(Server(), authority.server()) as server, relay_of as relay:
        archive(server)
        environ = stanza(machine, server.url) | {"SSL_CERT_FILE": str(authority.bundle)}
        through = {variable: f"http://me:{SECRET}@{relay.address}"}
        (found,) = packages(machine, **environ, **through)
        locked = len(relay.seen)
        assert locked > 0
        assert machine.fetch(found, **environ, **through) == THING
        assert relay.seen == [f"127.0.0.1:{server.port}"] * (locked + 1)
        direct = {variable: f"http://{DEAD}", "no_proxy": "127.0.0.0/8"}
        assert packages(machine, **environ, **direct) == [found]


def test_a_proxy_that_wants_another_password_is_told(
    machine: Machine, authority: Authority
) -> None:
    relay_of = relaying(Relay("http", password=f"me:{SECRET}"))
    with serving(Server(), authority.server()) as server, relay_of as relay:
        archive(server)
        environ = stanza(machine, server.url) | {"SSL_CERT_FILE": str(authority.bundle)}
        with pytest.raises(Unavailable, match="could not be read") as caught:
            packages(machine, **environ, https_proxy=f"http://me:wrong@{relay.address}")
        assert "user name and password into the setting" in str(caught.value.hint)
        assert "wrong" not in str(caught.value)


def test_what_apt_conf_says_of_http_reaches_the_archive(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = machine.write("apt.conf", 'Acquire::http { User-Agent "ours"; };\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    with serving(Server()) as server:
        archive(server)
        assert packages(machine, **stanza(machine, server.url))
        assert {headers["User-Agent"] for headers in server.headers} == {"ours"}
