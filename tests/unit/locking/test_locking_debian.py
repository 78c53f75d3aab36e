"""apt's own answers about a small archive in a directory; nothing of this host has a say."""

import hashlib
from pathlib import Path

import pytest
from mlruntime.ecosystems.debian.archive import Archive
from mlruntime.errors import ArtifactNotFound, InvalidDefinition, Unavailable
from mlruntime.host.settings import AptSource, Sources

pytestmark = pytest.mark.starts  # apt, on archives in a temporary directory


class Mirror:
    """A Debian archive in a directory: paragraphs go in, apt reads it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.suites: dict[str, list[str]] = {}

    def add(self, name: str, version: str, *more: str, suite: str = "bookworm") -> None:
        file = f"{name}_{version.partition(':')[2] or version}_amd64.deb"
        sha256 = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
        lines = [
            f"Package: {name}", f"Version: {version}", "Architecture: amd64", "Maintainer: nobody",
            f"Filename: pool/main/{name[0]}/{name}/{file}", f"Size: {len(name) + 100}",
            f"SHA256: {sha256}", *more, "Description: x",
        ]  # fmt: skip
        self.suites.setdefault(suite, []).append("\n".join(lines) + "\n")

    def sources(self) -> Sources:
        found = []
        for suite, paragraphs in self.suites.items():
            packages = "\n".join(paragraphs).encode()
            folder = self.root / "dists" / suite
            (folder / "main/binary-amd64").mkdir(parents=True, exist_ok=True)
            (folder / "main/binary-amd64/Packages").write_bytes(packages)
            digest = hashlib.sha256(packages).hexdigest()
            (folder / "Release").write_text(
                f"Suite: {suite}\nCodename: {suite}\nArchitectures: amd64\nComponents: main\n"
                "Date: Sat, 01 Nov 2025 00:00:00 UTC\n"
                f"SHA256:\n {digest} {len(packages)} main/binary-amd64/Packages\n"
            )
            part = suite.removeprefix("bookworm")
            uri = f"file:{self.root}"
            found.append(AptSource(uri=uri, part=part, signed_by=None, trusted=True))
        return Sources(indexes=(), maven="", debian=tuple(found))


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    mirror = Mirror(tmp_path / "mirror")
    mirror.add("apt", "2.6", "Depends: libc6", "Priority: important")
    mirror.add("libc6", "2.36-9")
    mirror.add("base-files", "12", "Essential: yes", "Pre-Depends: awk | mawk")
    mirror.add("mawk", "1.3")
    mirror.add("tzdata", "2026a", "Priority: required")
    mirror.add("java", "2:17.0.1~rc", "Depends: libz (>= 1:1.2)", "Recommends: fonts")
    mirror.add("libz", "1:1.2")
    mirror.add("fonts", "1")
    mirror.add("broken", "1", "Depends: nowhere")
    return mirror


def archive(mirror: Mirror, tmp_path: Path) -> Archive:
    root = tmp_path / "root"
    root.mkdir()
    return Archive(mirror.sources(), "12", root)


def test_the_base_is_essential_required_and_apt(mirror: Mirror, tmp_path: Path) -> None:
    assert archive(mirror, tmp_path).base == ("apt", "base-files", "tzdata")


def test_the_base_is_merged_from_the_start_where_that_can_be(
    mirror: Mirror, tmp_path: Path
) -> None:
    mirror.add("usr-is-merged", "37")
    assert archive(mirror, tmp_path).base == ("apt", "base-files", "tzdata", "usr-is-merged")


def test_the_closure_has_dependencies_and_no_recommendations(
    mirror: Mirror, tmp_path: Path
) -> None:
    read = archive(mirror, tmp_path)
    found = read.closure((*read.base, "java"))
    assert [a.name for a in found] == [
        "apt",
        "base-files",
        "java",
        "libc6",
        "libz",
        "mawk",
        "tzdata",
    ]
    java = found[2]
    assert (java.version, java.filename) == ("2:17.0.1~rc", "java_17.0.1~rc_amd64.deb")
    assert java.origin == "debian:bookworm:pool/main/j/java/java_17.0.1~rc_amd64.deb"
    assert (java.kind, java.size) == ("deb", 104)
    assert java.sha256 == hashlib.sha256(b"java 2:17.0.1~rc").hexdigest()


def test_security_updates_win_and_say_where_they_are_from(mirror: Mirror, tmp_path: Path) -> None:
    mirror.add("java", "2:17.0.2", "Depends: libz", suite="bookworm-security")
    mirror.add("libz", "1:1.2", suite="bookworm-updates")
    found = {a.name: a for a in archive(mirror, tmp_path).closure(["java"])}
    assert found["java"].origin.startswith("debian:bookworm-security:pool/")
    assert found["libz"].origin.startswith("debian:bookworm:pool/")


def test_what_this_host_has_installed_does_not_count(mirror: Mirror, tmp_path: Path) -> None:
    # Every Debian host has libc6; an apt that looked at its dpkg database would leave it out.
    assert "libc6" in [a.name for a in archive(mirror, tmp_path).closure(["apt"])]


def test_a_name_nobody_has_and_one_that_cannot_be_installed(mirror: Mirror, tmp_path: Path) -> None:
    read = archive(mirror, tmp_path)
    assert read.has("java")
    assert not read.has("nowhere")
    with pytest.raises(ArtifactNotFound, match="Debian bookworm has no package 'jaba'"):
        read.closure(["java", "jaba"])
    with pytest.raises(InvalidDefinition, match="cannot have these packages together") as caught:
        read.closure(["broken"])
    assert "nowhere" in str(caught.value)


def test_no_archive_an_empty_one_and_an_unknown_release(mirror: Mirror, tmp_path: Path) -> None:
    for release, error, said in (
        ("12", Unavailable, "no Debian archive is configured"),
        ("99", InvalidDefinition, "Debian 99 is not known"),
    ):
        with pytest.raises(error, match=said):
            Archive(Sources(indexes=(), maven="", debian=()), release, tmp_path / release)
    away = AptSource(uri=f"file:{tmp_path}/none", part="", signed_by=None, trusted=True)
    with pytest.raises(Unavailable, match="could not be read"):
        Archive(Sources(indexes=(), maven="", debian=(away,)), "12", tmp_path / "away")
