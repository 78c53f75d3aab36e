"""Packages of channels on their way into the store: logins, missing files, lies about hashes."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.ecosystems.fetching import host_fetcher
from mlruntime.errors import ArtifactNotFound, HashMismatch, Unavailable, UsageError
from mlruntime.host.settings import discover
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store

from tests.unit.channels import Package
from tests.unit.servers import Server, serving

PACKAGE = Package(name="toylib")
CONTENT = PACKAGE.bytes()
PATH = f"/toys/linux-64/{PACKAGE.filename}"


def artifact(channel: str) -> Artifact:
    return Artifact(
        kind="conda",
        name="toylib",
        version="1.0",
        filename=PACKAGE.filename,
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        origin=f"conda:linux-64:{channel}",
    )


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as state:
        state.put(PATH, CONTENT)
        yield state


def fetched(tmp_path: Path, wanted: Artifact, **environ: str) -> bytes:
    home = tmp_path / "home"
    home.mkdir(parents=True, exist_ok=True)
    sources = discover(environ, home=home, etc=home, apt_config=lambda: "")
    store = Store(tmp_path / "store")
    fetcher = host_fetcher(store, sources, pauses=(0.0,), sleep=lambda _: None)
    return fetcher.fetch(wanted).read_bytes()


def test_from_an_address_and_from_a_name(tmp_path: Path, server: Server) -> None:
    assert fetched(tmp_path, artifact(f"{server.url}/toys")) == CONTENT
    folder = tmp_path / "channel/linux-64"
    folder.mkdir(parents=True)
    (folder / PACKAGE.filename).write_bytes(CONTENT)
    named = f"toys={folder.parent.as_uri()}"
    other = tmp_path / "other"
    assert fetched(other, artifact("toys"), MLRUNTIME_CONDA_CHANNELS=named) == CONTENT


def test_a_login_and_a_cut_connection(tmp_path: Path, server: Server) -> None:
    server.password = ("ann", "s3cret")
    wanted = artifact("toys")
    with pytest.raises(Unavailable, match="requires a valid login"):
        fetched(tmp_path, wanted, MLRUNTIME_CONDA_CHANNELS=f"toys={server.url}/toys")
    host = server.url.removeprefix("http://")
    server.statuses = [(503, {})]
    with_login = f"toys=http://ann:s3cret@{host}/toys"
    assert fetched(tmp_path, wanted, MLRUNTIME_CONDA_CHANNELS=with_login) == CONTENT


def test_a_channel_that_lies_about_a_hash(tmp_path: Path, server: Server) -> None:
    server.put(PATH, CONTENT[:-1] + b"x")
    with pytest.raises(HashMismatch, match="is not the file that was locked") as caught:
        fetched(tmp_path, artifact(f"{server.url}/toys"))
    assert caught.value.exit_code == 5
    assert PATH in str(caught.value.where)


def test_a_package_that_is_gone(tmp_path: Path, server: Server) -> None:
    wanted = replace(artifact(f"{server.url}/toys"), filename="gone-1.0-0.conda")
    with pytest.raises(ArtifactNotFound, match="is not in the registry") as caught:
        fetched(tmp_path, wanted)
    assert "MLRUNTIME_CONDA_CHANNELS" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("toys", "cannot be read: toys"),
        ("toys=ftp://example.org", "has no channel's address: ftp://example.org"),
    ],
)
def test_a_setting_that_means_nothing(tmp_path: Path, setting: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fetched(tmp_path, artifact("toys"), MLRUNTIME_CONDA_CHANNELS=setting)


def test_what_condarc_says(tmp_path: Path) -> None:
    (tmp_path / ".condarc").write_text(
        "channel_alias: https://mirror.example.org/all/\n"
        "custom_channels: {toys: 'https://ann:s3cret@toys.example.org/x'}\n"
    )
    found = discover({}, home=tmp_path, etc=tmp_path, apt_config=lambda: "").conda
    assert found.named == (("toys", "https://toys.example.org/x/toys"),)
    assert found.alias == "https://mirror.example.org/all"
    assert [login.user for login in found.logins] == ["ann"]
    assert "s3cret" not in str(found.found)
    (tmp_path / ".condarc").write_text("- [")
    with pytest.raises(Unavailable, match="conda's settings cannot be read"):
        discover({}, home=tmp_path, etc=tmp_path, apt_config=lambda: "")
