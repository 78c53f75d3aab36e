"""The client of container registries: what it sends, and what it does when one misbehaves."""

import base64
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from mlruntime.documents.oci import MANIFEST_TYPE, Document
from mlruntime.errors import HashMismatch, MlruntimeError, Unavailable, UsageError
from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources
from mlruntime.host.settings.containers import registry_logins
from mlruntime.host.settings.credentials import Login
from mlruntime.registry.client import Repository
from mlruntime.registry.names import parse_name
from mlruntime.registry.referrers import Attachment, attach, fallback_tag, referrers
from mlruntime.registry.uploads import Blob
from mlruntime.store.store import file_sha256

from tests.unit.host.conftest import authority  # noqa: F401
from tests.unit.host.machines import Authority
from tests.unit.registries import Registry, debian_registry, running

DATA = bytes(range(256)) * 4096
NOTE = Attachment(name="note", artifact_type="text/markdown", content=b"# note\n")


def sources(ca: Path | None = None) -> Sources:
    return Sources(indexes=(), maven="https://maven.invalid", debian=(), ca_bundle=ca)


@contextmanager
def repository(
    address: str,
    path: str = "team/ml",
    login: Callable[[str], Login | None] = lambda _: None,
    *,
    ca: Path | None = None,
    slept: list[float] | None = None,
    sent: Callable[[int], None] = lambda _: None,
) -> Iterator[Repository]:
    waits: list[float] = [] if slept is None else slept
    with Web(sources(ca), pauses=(0.0, 0.0), sleep=waits.append) as web:
        yield Repository(web, parse_name(f"{address}/{path}"), login, sent=sent)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running(Registry()) as found:
        yield found


def image(*layers: Blob) -> Document:
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": "a/b", "digest": layers[0].digest, "size": layers[0].size},
        "layers": [{"mediaType": "a/b", "digest": x.digest, "size": x.size} for x in layers[1:]],
    }
    return Document(content=json.dumps(value).encode(), media_type=MANIFEST_TYPE)


# names


def test_names_are_taken_apart() -> None:
    found = parse_name("registry.example.org:5000/team/ml:6.0-ml@sha256:" + "a" * 64)
    assert (found.host, found.path, found.tag) == ("registry.example.org:5000", "team/ml", "6.0-ml")
    assert found.secure and found.api == "https://registry.example.org:5000/v2/team/ml"
    assert not parse_name("localhost:5000/ml").secure
    assert not parse_name("[::1]:5000/ml").secure
    assert parse_name("https://localhost:5000/ml").secure


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ml", "names no repository"),
        ("host/UPPER", "names no repository"),
        ("host/a/../b", "names no repository"),
        ("host/ml:", "names no image"),
        ("host/ml@sha256:1", "names no image"),
        ("ftp://host/ml", "names no repository"),
        ("http://registry.example.org/ml", "without encryption"),
        ("http://127.0.0.1.example.org/ml", "without encryption"),
    ],
)
def test_what_is_no_name_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_name(text)


# blobs


def test_a_blob_goes_there_once_and_comes_back(registry: Registry, tmp_path: Path) -> None:
    sent: list[int] = []
    with repository(registry.address, sent=sent.append) as there:
        assert there.push_blob(Blob.of(DATA)) == "sent"
        assert there.push_blob(Blob.of(DATA)) == "there"
        there.pull_blob(Blob.of(DATA).digest, tmp_path / "b", len(DATA))
    assert (tmp_path / "b").read_bytes() == DATA
    assert sum(sent) == registry.received == len(DATA)


def test_a_blob_of_another_repository_is_mounted(registry: Registry) -> None:
    with repository(registry.address, "team/old") as old:
        old.push_blob(Blob.of(DATA))
    with repository(registry.address) as there:
        assert there.push_blob(Blob.of(DATA), mount_from="team/old") == "mounted"
        assert there.push_blob(Blob.of(b"other"), mount_from="team/old") == "sent"
    assert registry.received == len(DATA) + len(b"other")


def test_a_mount_asks_for_a_token_of_both_repositories(registry: Registry) -> None:
    registry.login, registry.tokens = ("me", "secret"), True

    def login(host: str) -> Login:
        return Login(host=host, user="me", password="secret", setting="x")

    with repository(registry.address, "team/old", login) as old:
        old.push_blob(Blob.of(DATA))
    with repository(registry.address, login=login) as there:
        assert there.push_blob(Blob.of(DATA), mount_from="team/old") == "mounted"
    asked = [parse_qs(urlsplit(path).query)["scope"] for _, path in registry.requests
             if path.startswith("/token")]  # fmt: skip
    assert ["repository:team/ml:pull,push", "repository:team/old:pull"] in asked


def test_an_upload_that_is_cut_goes_on_where_it_ended(registry: Registry) -> None:
    registry.trouble.append(("PATCH", "", "cut"))
    with repository(registry.address) as there:
        assert there.push_blob(Blob.of(DATA)) == "sent"
    assert registry.repository("team/ml")[Blob.of(DATA).digest] == DATA
    assert registry.count("POST") == 1
    assert registry.received == len(DATA)


def test_a_connection_that_is_cut_again_and_again_comes_to_an_end(
    registry: Registry, tmp_path: Path
) -> None:
    """Two pauses are three tries; each of these four has sent or got half of the rest."""
    registry.trouble += [("PATCH", "", "cut")] * 4 + [("GET", "/blobs/sha256", "cut")] * 4
    with repository(registry.address) as there:
        assert there.push_blob(Blob.of(DATA)) == "sent"
        assert registry.received == len(DATA)
        there.pull_blob(Blob.of(DATA).digest, tmp_path / "b", len(DATA))
    assert (tmp_path / "b").read_bytes() == DATA
    assert registry.count("GET", "/blobs/sha256") == 5


def test_a_connection_on_which_nothing_arrives_is_given_up(registry: Registry) -> None:
    registry.trouble += [("POST", "", 500)] * 3
    with repository(registry.address) as there, pytest.raises(Unavailable, match="not be used"):
        there.push_blob(Blob.of(DATA))


def test_a_blob_whose_last_answer_was_lost_is_not_sent_again(registry: Registry) -> None:
    registry.trouble.append(("PUT", "/blobs/uploads", "mute"))
    with repository(registry.address) as there:
        assert there.push_blob(Blob.of(DATA)) == "sent"
    assert registry.received == len(DATA) and registry.count("POST") == 1


def test_an_upload_that_the_registry_forgets_begins_anew(registry: Registry) -> None:
    registry.keeps_uploads = False
    registry.trouble.append(("PATCH", "", "cut"))
    with repository(registry.address) as there:
        assert there.push_blob(Blob.of(DATA)) == "sent"
    assert registry.count("POST") == 2


def test_a_registry_in_trouble_is_tried_again(registry: Registry) -> None:
    slept: list[float] = []
    registry.trouble += [
        ("HEAD", "", 503),
        ("POST", "", 500),
        ("PATCH", "", (429, {"Retry-After": "7"})),
        ("PUT", "", 502),
    ]
    with repository(registry.address, slept=slept) as there:
        with pytest.raises(Unavailable, match="could not be used"):  # three in one upload
            there.push_blob(Blob.of(DATA))
        assert there.push_blob(Blob.of(DATA)) == "sent"
    assert 7.0 in slept


def test_a_registry_that_asks_for_too_long_a_pause_is_left_alone(registry: Registry) -> None:
    registry.trouble.append(("HEAD", "", (429, {"Retry-After": "3600"})))
    with (
        repository(registry.address) as there,
        pytest.raises(Unavailable, match="asks clients to wait"),
    ):
        there.push_blob(Blob.of(DATA))


def test_a_download_that_is_cut_goes_on_where_it_ended(registry: Registry, tmp_path: Path) -> None:
    with repository(registry.address) as there:
        there.push_blob(Blob.of(DATA))
        registry.trouble.append(("GET", "/blobs/sha256", "cut"))
        there.pull_blob(Blob.of(DATA).digest, tmp_path / "b", len(DATA))
    assert (tmp_path / "b").read_bytes() == DATA
    assert registry.count("GET", "/blobs/sha256") == 2


def test_other_bytes_than_asked_for_are_refused(registry: Registry, tmp_path: Path) -> None:
    blob, made = Blob.of(DATA), image(Blob.of(b"{}"))
    with repository(registry.address) as there:
        there.push_blob(blob)
        there.push_manifest(made, "v1")
        registry.trouble += [("GET", "/blobs/", "lie"), ("GET", "/blobs/", "lie")]
        with pytest.raises(HashMismatch, match="sends other bytes"):
            there.pull_blob(blob.digest, tmp_path / "b", len(DATA))
        with pytest.raises(HashMismatch, match="sends other bytes"):
            there.small_blob(blob.digest)
        with pytest.raises(HashMismatch, match="sends more than its 100 bytes"):
            there.pull_blob(blob.digest, tmp_path / "c", 100)
        registry.trouble.append(("GET", "/manifests/", "lie"))
        with pytest.raises(HashMismatch, match="sends another manifest"):
            there.manifest(made.digest)
        registry.trouble.append(("PUT", "/manifests/", "lie"))
        with pytest.raises(HashMismatch, match="has stored another manifest"):
            there.push_manifest(made)
        registry.trouble.append(("PUT", "/blobs/", "lie"))
        with pytest.raises(HashMismatch, match="has stored another blob"):
            there.push_blob(Blob.of(b"new"))


@pytest.mark.parametrize("status", [405, 413])
def test_a_registry_that_takes_nothing_is_quoted(registry: Registry, status: int) -> None:
    registry.trouble.append(("POST", "", status))
    with repository(registry.address) as there, pytest.raises(Unavailable) as caught:
        there.push_blob(Blob.of(DATA))
    assert caught.value.why == f"HTTP status {status}: TEST told to"
    assert "read-only, full" in (caught.value.hint or "")


def test_no_registry_at_all(registry: Registry) -> None:
    with repository("127.0.0.1:1") as there, pytest.raises(Unavailable, match="could not be used"):
        there.push_blob(Blob.of(DATA))


# logins


@pytest.mark.parametrize("tokens", [False, True])
def test_a_login_is_asked_for_and_given(registry: Registry, tokens: bool, tmp_path: Path) -> None:
    registry.login, registry.tokens = ("me", "secret"), tokens
    with repository(registry.address) as there, pytest.raises(Unavailable) as caught:
        there.push_blob(Blob.of(DATA))
    assert "no login" in (caught.value.why or "")
    assert "docker login" in (caught.value.hint or "")

    def wrong(host: str) -> Login:
        return Login(host=host, user="me", password="x", setting="config.json")

    with repository(registry.address, login=wrong) as there, pytest.raises(Unavailable) as caught:
        there.push_blob(Blob.of(DATA))
    assert "the login of config.json" in (caught.value.why or "")

    def right(host: str) -> Login:
        return Login(host=host, user="me", password="secret", setting="config.json")

    with repository(registry.address, login=right) as there:
        assert there.push_blob(Blob.of(DATA)) == "sent"
        registry.given.clear()  # the tokens have expired
        there.pull_blob(Blob.of(DATA).digest, tmp_path / "b", len(DATA))
        assert there.push_blob(Blob.of(b"second")) == "sent"
    assert (tmp_path / "b").read_bytes() == DATA


def test_a_login_never_goes_to_a_token_service_in_clear(registry: Registry) -> None:
    asked = []

    def login(host: str) -> Login:
        asked.append(host)
        return Login(host=host, user="me", password="secret", setting="x")

    challenge = {"WWW-Authenticate": 'Bearer realm="http://auth.example.org/token"'}
    registry.trouble.append(("HEAD", "", (401, challenge)))
    with (
        repository(registry.address, login=login) as there,
        pytest.raises(Unavailable, match="not safe"),
    ):
        there.push_blob(Blob.of(DATA))


def test_a_login_goes_to_the_registry_and_not_where_it_sends_uploads(registry: Registry) -> None:
    """The other host gets the bytes, at an address that has its own permission in it."""
    registry.login = ("me", "secret")

    def login(host: str) -> Login:
        return Login(host=host, user="me", password="secret", setting="x")

    with running(Registry()) as other:
        other.uploads["abc"] = b""
        place = f"http://{other.address}/v2/team/ml/blobs/uploads/abc"
        registry.trouble.append(("POST", "", (202, {"Location": place})))
        with repository(registry.address, login=login) as there:
            there.has_blob("sha256:" + "0" * 64)
            assert there.push_blob(Blob.of(DATA)) == "sent"
        assert other.repository("team/ml")[Blob.of(DATA).digest] == DATA
        assert other.authorizations == {""}
        assert {bool(given) for given in registry.authorizations} == {True, False}
        # Nor is it told a login when it asks for one.
        other.login = ("me", "secret")
        other.uploads["abc"] = b""
        registry.trouble.append(("POST", "", (202, {"Location": place})))
        with (
            repository(registry.address, login=login) as there,
            pytest.raises(Unavailable, match="refused the request"),
        ):
            there.push_blob(Blob.of(b"other"))
        assert other.authorizations == {""}


@pytest.mark.starts
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_uploads_do_not_leave_encryption(
    authority: Authority,  # noqa: F811
    method: str,
) -> None:
    with running(Registry(), authority.server()) as registry, running(Registry()) as clear:
        place = f"http://{clear.address}/v2/team/ml/blobs/uploads/abc"
        registry.trouble.append((method, "", (202, {"Location": place})))
        with (
            repository(f"https://{registry.address}", ca=authority.folder / "ca.pem") as there,
            pytest.raises(Unavailable, match="not safe") as caught,
        ):
            there.push_blob(Blob.of(DATA))
        assert "without encryption" in (caught.value.why or "")
        assert clear.requests == []


@pytest.mark.parametrize(
    ("url", "own", "may"),
    [
        ("https://r.example/x", True, True),
        ("https://r.example:443/x", True, True),
        ("https://R.example/x", True, True),
        ("https://r.example:8443/x", False, True),
        ("https://store.example/x", False, True),
        ("http://r.example/x", False, False),
        ("http://127.0.0.1/x", False, False),
        ("ftp://r.example/x", False, False),
        ("https://r.example:99999/x", False, False),
        ("https://[r.example/x", False, False),
        ("https:///x", False, False),
    ],
)
def test_which_addresses_are_the_registry_s_own(url: str, own: bool, may: bool) -> None:
    name = parse_name("r.example/ml")
    assert (name.is_at(url), name.may_send_to(url)) == (own, may)
    here = parse_name("localhost:5000/ml")
    assert here.may_send_to("http://127.0.0.1:9000/x") and not here.may_send_to("http://r.example")


# what answers in the place of a registry


def test_an_upload_without_an_address_is_told(registry: Registry) -> None:
    registry.trouble.append(("POST", "", 202))
    with repository(registry.address) as there, pytest.raises(Unavailable) as caught:
        there.push_blob(Blob.of(DATA))
    assert caught.value.what == "the registry does not say where an upload goes"


def test_a_page_that_asks_for_a_login_is_no_list_of_tags(registry: Registry) -> None:
    registry.trouble.append(("GET", "/tags/list", "portal"))
    with repository(registry.address) as there, pytest.raises(Unavailable, match="something else"):
        there.tags()


def test_a_list_without_an_end_is_read_once(registry: Registry) -> None:
    made = image(Blob.of(b"{}"))
    with repository(registry.address) as there:
        for number in range(4):
            there.push_manifest(made, f"v{number}")
        again = {"Link": '</v2/team/ml/tags/list?n=1000>; rel="next"'}
        registry.trouble.append(("GET", "/tags/list", (200, again)))
        assert there.tags() == ()
    assert registry.count("GET", "/tags/list") == 1


@pytest.mark.parametrize("what", ["manifest", "document"])
def test_a_document_without_an_end_is_refused_as_it_comes(registry: Registry, what: str) -> None:
    part = "/manifests/" if what == "manifest" else "/blobs/"
    registry.trouble.append(("GET", part, "endless"))
    with repository(registry.address) as there, pytest.raises(HashMismatch, match="sends more"):
        if what == "manifest":
            there.manifest("v1")
        else:
            there.small_blob(Blob.of(DATA).digest, 1 << 20)
    assert registry.streamed < 64 << 20


def test_logins_are_read_where_docker_and_podman_keep_them(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / "run/containers").mkdir(parents=True)
    secret = base64.b64encode(b"me:pass:word").decode()
    docker = {"auths": {"r.example": {"auth": secret}, "https://u.example": {"auth": secret},
                        "t.example": {"identitytoken": "refresh"}, "e.example": {}}}  # fmt: skip
    (tmp_path / ".docker/config.json").write_text(json.dumps(docker))
    podman = {"auths": {"p.example": {"auth": secret}}}
    (tmp_path / "run/containers/auth.json").write_text(json.dumps(podman))
    logins = registry_logins({"XDG_RUNTIME_DIR": str(tmp_path / "run")}, tmp_path)
    for host in ("r.example", "u.example", "p.example"):
        found = logins.of(host)
        assert found and (found.user, found.password) == ("me", "pass:word")
        assert "pass" not in repr(found)
    token = logins.of("t.example")
    assert token and (token.user, token.password) == ("<token>", "refresh")
    assert logins.of("e.example") is None and logins.of("other.example") is None


@pytest.mark.starts
def test_a_credential_helper_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-safe"
    helper.write_text(
        '#!/bin/sh\nread host\n[ "$host" = r.example ] || { echo "not found" >&2; exit 1; }\n'
        'echo \'{"Username": "me", "Secret": "s"}\'\n'
    )
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "config.json").write_text('{"credsStore": "safe"}')
    logins = registry_logins({"DOCKER_CONFIG": str(tmp_path)}, tmp_path)
    found = logins.of("r.example")
    assert found and (found.user, found.password) == ("me", "s")
    assert logins.of("other.example") is None
    (tmp_path / "config.json").write_text('{"credHelpers": {"r.example": "missing"}}')
    assert registry_logins({"DOCKER_CONFIG": str(tmp_path)}, tmp_path).of("r.example") is None


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"r.example": {"auth": "%%"}}}'])
def test_a_file_of_logins_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    logins = registry_logins({"DOCKER_CONFIG": str(tmp_path)}, tmp_path)
    with pytest.raises(Unavailable, match="cannot be read"):
        logins.of("r.example")


@pytest.mark.starts
def test_a_registry_with_a_certificate_of_an_own_authority(
    authority: Authority,  # noqa: F811
) -> None:
    with running(Registry(), authority.server()) as registry:
        address = f"https://{registry.address}"
        with repository(address, ca=authority.folder / "ca.pem") as there:
            assert there.push_blob(Blob.of(DATA)) == "sent"
        with repository(address) as there, pytest.raises(MlruntimeError, match="not trusted"):
            there.push_blob(Blob.of(DATA))


# manifests and referrers


def test_manifests_tags_and_what_is_not_there(registry: Registry) -> None:
    made = image(Blob.of(b"{}"))
    with repository(registry.address) as there:
        assert there.manifest("v0") is None and there.tags() == ()
        for number in range(7):
            there.push_manifest(made, f"v{number}")
        assert there.tags() == tuple(f"v{number}" for number in range(7))  # over several pages
        found = there.manifest("v3")
        assert found == made and there.manifest(made.digest) == made


@pytest.mark.parametrize("api", [True, False])
def test_documents_are_found_with_and_without_the_referrers_api(
    registry: Registry, api: bool
) -> None:
    registry.referrers = api
    made = image(Blob.of(b"{}"))
    other = Attachment(name="other", artifact_type="text/plain", content=b"other")
    with repository(registry.address) as there:
        there.push_manifest(made)
        for document in (NOTE, other, NOTE):
            attach(there, made.descriptor(), document)
        found = referrers(there, made.digest)
        assert sorted(e["artifactType"] for e in found) == ["text/markdown", "text/plain"]
        assert (there.manifest(fallback_tag(made.digest)) is None) == api


# Debian's registry, which knows no referrers


@pytest.mark.starts
@pytest.mark.registry
def test_debian_s_registry_takes_and_gives_all_of_it(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.write_bytes(os.urandom(1 << 20) * 3)
    blob = Blob(digest=f"sha256:{file_sha256(layer)}", size=layer.stat().st_size, path=layer)
    config = Blob.of(b"{}")
    with debian_registry(tmp_path) as address:
        with repository(address, "team/old") as old:
            assert [old.push_blob(b) for b in (blob, config)] == ["sent", "sent"]
        with repository(address) as there:
            assert there.push_blob(blob, mount_from="team/old") == "mounted"
            there.push_blob(config)
            made = image(config, blob)
            there.push_manifest(made, "v1")
            assert there.manifest("v1") == made and there.tags() == ("v1",)
            attach(there, made.descriptor(), NOTE)
            assert [e["artifactType"] for e in referrers(there, made.digest)] == ["text/markdown"]
            there.pull_blob(blob.digest, tmp_path / "back", blob.size)
    assert (tmp_path / "back").read_bytes() == layer.read_bytes()


@pytest.mark.starts
@pytest.mark.registry
def test_debian_s_registry_gets_an_upload_that_was_cut_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distribution 2.8 throws away an upload whose state is behind its bytes: it begins anew."""
    blob = Blob.of(os.urandom(1 << 20) * 8)
    whole = Blob.read
    cuts = [True]

    def breaking(self: Blob, start: int) -> Iterator[bytes]:
        for number, block in enumerate(whole(self, start)):
            for at in range(0, len(block), 1 << 20):
                yield block[at : at + (1 << 20)]
                if cuts and at >= 4 << 20:
                    cuts.clear()
                    raise_cut()
            assert number == 0

    def raise_cut() -> None:
        raise httpx.WriteError("cut by the test")

    monkeypatch.setattr(Blob, "read", breaking)
    with debian_registry(tmp_path) as address, repository(address) as there:
        assert there.push_blob(blob) == "sent"
        there.pull_blob(blob.digest, tmp_path / "back", blob.size)
    assert not cuts and (tmp_path / "back").read_bytes() == blob.content


@pytest.mark.starts
@pytest.mark.registry
def test_debian_s_registry_set_to_read_only(tmp_path: Path) -> None:
    more = ", maintenance: {readonly: {enabled: true}}"
    with (
        debian_registry(tmp_path, more) as address,
        repository(address) as there,
        pytest.raises(Unavailable, match="takes no uploads") as caught,
    ):
        there.push_blob(Blob.of(DATA))
    assert "405" in (caught.value.why or "")
