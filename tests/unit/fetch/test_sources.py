"""Where registries are: read from the host's own configuration, whatever form it has."""

from pathlib import Path

import pytest
from mlruntime.errors import Unavailable, UsageError
from mlruntime.host.settings import AptSource, Sources, discover, suite_part, without_secrets


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    release = 'ID=debian\nVERSION_CODENAME="bookworm"\n'
    (tmp_path / "etc/os-release").write_text(release)
    return tmp_path


def found(host: Path, ca_bundle: Path | None = None, **environ: str) -> Sources:
    return discover(environ, home=host / "home", etc=host / "etc", ca_bundle=ca_bundle)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_bare_host_has_the_defaults_of_the_clients(host: Path) -> None:
    sources = found(host)
    assert len(sources.indexes) == 1
    assert sources.indexes[0].endswith("/simple/")
    assert sources.maven.startswith("https://")
    assert sources.debian == ()
    assert sources.ca_bundle is None


@pytest.mark.parametrize(
    ("environ", "indexes"),
    [
        ({"PIP_INDEX_URL": "http://p/"}, ["http://p/"]),
        ({"UV_INDEX_URL": "http://u", "PIP_INDEX_URL": "http://p/"}, ["http://u/"]),
        ({"UV_DEFAULT_INDEX": "http://d", "UV_INDEX_URL": "http://u"}, ["http://d/"]),
        ({"UV_DEFAULT_INDEX": "own=http://d"}, ["http://d/"]),
        (
            {
                "UV_INDEX": "a=http://a http://b",
                "PIP_EXTRA_INDEX_URL": "http://c",
                "UV_INDEX_URL": "http://u",
            },
            ["http://a/", "http://b/", "http://c/", "http://u/"],
        ),
    ],
)
def test_indexes_from_the_environment(
    host: Path, environ: dict[str, str], indexes: list[str]
) -> None:
    assert list(found(host, **environ).indexes) == indexes


def test_indexes_from_files_uv_before_pip(host: Path) -> None:
    write(host / "etc/pip.conf", "[global]\nindex-url = http://pip/simple\n")
    assert found(host).indexes == ("http://pip/simple/",)
    write(
        host / "home/.config/uv/uv.toml",
        '[[index]]\nurl = "http://extra"\n[[index]]\nurl = "http://uv"\ndefault = true\n'
        '[[index]]\nurl = "http://other"\nexplicit = true\n',
    )
    assert found(host).indexes == ("http://extra/", "http://uv/")


@pytest.mark.parametrize(
    "text",
    ["[[index", 'index = "x"', "[[index]]\nname = 1", "extra-index-url = 3", 'pip = "x"'],
)
def test_broken_settings_name_their_file(host: Path, text: str) -> None:
    write(host / "home/.config/uv/uv.toml", text)
    with pytest.raises(Unavailable, match="uv's settings cannot be read") as caught:
        found(host)
    assert "uv.toml" in str(caught.value)


def test_maven_from_a_mirror_in_settings_and_from_the_environment(host: Path) -> None:
    write(
        host / "home/.m2/settings.xml",
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><mirrors>'
        "<mirror><mirrorOf>other</mirrorOf><url>http://no</url></mirror>"
        "<mirror><mirrorOf>*,!central</mirrorOf><url>http://no</url></mirror>"
        "<mirror><mirrorOf>central</mirrorOf><url>http://mirror/</url></mirror>"
        "</mirrors></settings>",
    )
    assert found(host).maven == "http://mirror"
    assert found(host, MLRUNTIME_MAVEN_REPOSITORY="file:///m2").maven == "file:///m2"
    with pytest.raises(UsageError, match="not a Maven repository's address"):
        found(host, MLRUNTIME_MAVEN_REPOSITORY="/m2")


DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror/debian/
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /keys.gpg

Types: deb
URIs: http://vendor/apt
Suites: nodistro
Components: main

Types: deb
Enabled: no
URIs: http://off/debian
Suites: bookworm
Components: main
"""


def test_debian_archives_are_told_from_vendors(host: Path) -> None:
    write(host / "etc/apt/sources.list.d/debian.sources", DEB822)
    write(
        host / "etc/apt/sources.list",
        "deb [arch=amd64 signed-by=/k.gpg] http://sec/debian-security bookworm-security main # x\n"
        "deb-src http://mirror/debian bookworm main\n"
        "deb http://vendor/apt cloud-sdk-bookworm main\n"
        "deb http://mirror/nonfree bookworm non-free\n",
    )
    assert found(host).debian == (
        AptSource(uri="http://sec/debian-security", part="-security", signed_by="/k.gpg"),
        AptSource(uri="http://mirror/debian", part="", signed_by="/keys.gpg"),
        AptSource(uri="http://mirror/debian", part="-updates", signed_by="/keys.gpg"),
    )


def test_another_release_is_sought_in_the_same_archives(host: Path) -> None:
    write(host / "etc/apt/sources.list.d/debian.sources", DEB822)
    first, second = found(host).debian
    assert "Suites: trixie\n" in first.entry("trixie")
    assert "Suites: trixie-updates\n" in second.entry("trixie")
    assert "Signed-By: /keys.gpg\n" in second.entry("trixie")


def test_the_likeliest_archive_comes_first(host: Path) -> None:
    write(
        host / "etc/apt/sources.list",
        "deb http://a bookworm main\ndeb http://b bookworm-security main\n",
    )
    sources = found(host)
    assert sources.debian_uris("bookworm") == ("http://a", "http://b")
    assert sources.debian_uris("trixie-security") == ("http://b", "http://a")


def test_what_apt_takes_is_taken(host: Path) -> None:
    write(host / "etc/mirrors.list", "http://one/debian\tpriority:1\n# no\nhttp://two/debian\n")
    write(
        host / "etc/apt/sources.list.d/debian.sources",
        f"Types: deb\nURIs: mirror+file:{host}/etc/mirrors.list\nSuites: bookworm\n"
        "Components: main\nTrusted: true\nCheck-Valid-Until: no\nSnapshot: 20261120T000000Z\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n\n"
        "Types: deb\nEnabled: false\nURIs: http://off/debian\nSuites: bookworm\n"
        "Components: main\n\n"
        "Types: deb\nURIs: http://arm/debian\nSuites: bookworm\nComponents: main\n"
        "Architectures: arm64\n",
    )
    one, two = found(host).debian
    assert (one.uri, two.uri) == ("http://one/debian", "http://two/debian")
    assert one.trusted
    assert one.options == (("Check-Valid-Until", "no"), ("Snapshot", "20261120T000000Z"))
    entry = one.entry("bookworm")
    assert "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n" in entry
    assert "Check-Valid-Until: no\n" in entry


def test_a_host_that_is_not_debian_uses_what_it_is_given(host: Path) -> None:
    write(host / "etc/os-release", "ID=ubuntu\nVERSION_CODENAME=noble\n")
    write(host / "etc/apt/sources.list", "deb http://ubuntu noble main\n")
    assert found(host).debian == ()
    write(
        host / "mine.sources",
        "Types: deb\nURIs: file:/m\nSuites: x\nComponents: main\nTrusted: yes\n",
    )
    given = found(host, MLRUNTIME_DEBIAN_SOURCES=str(host / "mine.sources")).debian
    assert given == (AptSource(uri="file:/m", part="", signed_by=None, trusted=True),)
    with pytest.raises(UsageError, match="MLRUNTIME_DEBIAN_SOURCES"):
        found(host, MLRUNTIME_DEBIAN_SOURCES=str(host / "none"))


def test_the_bundle_of_the_command_line_goes_first(host: Path) -> None:
    write(host / "one.pem", "")
    write(host / "two.pem", "")
    environ = {"PIP_CERT": str(host / "two.pem")}
    assert found(host, host / "one.pem", **environ).ca_bundle == host / "one.pem"
    assert found(host, **environ).ca_bundle == host / "two.pem"
    with pytest.raises(UsageError, match="--ca-bundle"):
        found(host, host / "none.pem")


def test_suites_and_secrets() -> None:
    assert [suite_part(s) for s in ("bookworm", "bookworm-security")] == ["", "-security"]
    assert without_secrets("https://u:p@h:8/x?token=1#f") == "https://h:8/x"
