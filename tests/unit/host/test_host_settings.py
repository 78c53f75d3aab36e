"""Every row of docs/host-settings.md is set on a host of its own, and found there."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.doctor.findings import registries
from mlruntime.ecosystems.debian.reach import apt_lines, apt_logins
from mlruntime.ecosystems.pypi.reach import uv_environ
from mlruntime.errors import MlruntimeError, UsageError
from mlruntime.host.command import run
from mlruntime.host.secrets import redacted, without_secrets
from mlruntime.host.settings import discover
from mlruntime.host.settings.proxies import Proxies, environment, matches
from mlruntime.host.settings.table import ROWS

ETC = {"os-release": "ID=debian\nVERSION_CODENAME=bookworm\n"}
MAVEN = (
    "<settings><servers><server><id>central</id><username>u</username>"
    "<password>hunter2</password></server></servers></settings>"
)
DEB = "deb http://mirror/debian bookworm main\n"
# By the row's first word: variables, and files of a home and an /etc. {file} is a file that is
# there, {dir} a folder. The setting is found under one of its own names.
EXAMPLES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "http_proxy": ({"http_proxy": "http://u:hunter2@p:1", "HTTPS_PROXY": "p:2"}, {}),
    "all_proxy": ({"ALL_PROXY": "socks5://u:hunter2@p:1"}, {}),
    "no_proxy": ({"no_proxy": "corp.example"}, {}),
    "SSL_CERT_FILE": ({"REQUESTS_CA_BUNDLE": "{file}"}, {}),
    "SSL_CERT_DIR": ({"SSL_CERT_DIR": "{dir}"}, {}),
    "SSL_CLIENT_CERT": ({"PIP_CLIENT_CERT": "{file}"}, {}),
    "~/.netrc": ({}, {"home/.netrc": "machine h login u password hunter2\n"}),
    "UV_DEFAULT_INDEX": ({"UV_DEFAULT_INDEX": "https://u:hunter2@i/simple"}, {}),
    "UV_INDEX_NAME_USERNAME": (
        {
            "UV_INDEX": "name=https://i/simple",
            "UV_INDEX_NAME_USERNAME": "u",
            "UV_INDEX_NAME_PASSWORD": "hunter2",
        },
        {},
    ),
    "uv auth login": (
        {},
        {
            "home/.local/share/uv/credentials/credentials.toml": "[[credential]]\n"
            'service = "https://i/"\nusername = "u"\npassword = "hunter2"\n'
        },
    ),
    "UV_KEYRING_PROVIDER": ({"PIP_KEYRING_PROVIDER": "subprocess"}, {}),
    "UV_OFFLINE": ({"UV_OFFLINE": "1"}, {}),
    "MAVEN_OPTS": ({"MAVEN_OPTS": "-Xmx1g -Dhttps.proxyHost=p -Dhttps.proxyPort=1"}, {}),
    "UV_INSECURE_HOST": ({"UV_INSECURE_HOST": "h:8443"}, {}),
    "UV_HTTP_TIMEOUT": ({"UV_HTTP_TIMEOUT": "7"}, {}),
    "allow-insecure-host": ({}, {"home/.config/uv/uv.toml": 'allow-insecure-host = ["h"]\n'}),
    "cert": ({}, {"etc/pip.conf": "[global]\ntrusted-host = h\n"}),
    "uv.toml": ({}, {"home/.config/uv/uv.toml": 'index-url = "https://u:hunter2@i/simple"\n'}),
    "PIP_INDEX_URL": ({"PIP_INDEX_URL": "https://u:hunter2@i/simple"}, {}),
    "PIP_PROXY": ({"PIP_PROXY": "http://u:hunter2@p:1"}, {}),
    "pip.conf": ({}, {"etc/pip.conf": "[global]\nproxy = http://u:hunter2@p:1\n"}),
    "~/.m2/settings.xml": ({}, {"home/.m2/settings.xml": MAVEN}),
    "MLRUNTIME_MAVEN_REPOSITORY": (
        {"MLRUNTIME_MAVEN_REPOSITORY": "https://u:hunter2@m/maven2"},
        {},
    ),
    "sources.list": ({}, {"etc/apt/sources.list": DEB.replace("http://", "http://u:hunter2@")}),
    "apt.conf": ({}, {"etc/apt/sources.list": DEB, "etc/apt/apt.conf": "Acquire…"}),
    "Acquire::Check-Valid-Until": (
        {},
        {"etc/apt/sources.list": DEB, "etc/apt/apt.conf": "Acquire…"},
    ),
    "auth.conf": ({}, {"etc/apt/auth.conf": "machine h login u password hunter2\n"}),
    "MLRUNTIME_DEBIAN_SOURCES": ({"MLRUNTIME_DEBIAN_SOURCES": "{list}"}, {}),
    "MLRUNTIME_DEBIAN_SNAPSHOT": ({"MLRUNTIME_DEBIAN_SNAPSHOT": "http://u:hunter2@s/a"}, {}),
}
APT = 'Acquire::http::Proxy "http://u:hunter2@p:1";\nAcquire::Check-Valid-Until "false";\n'


def first(setting: str) -> str:
    return setting.split("`")[1]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: first(row.setting))
def test_every_row_is_found_by_doctor_and_shown_without_secrets(
    row: object, tmp_path: Path
) -> None:
    setting = row.setting  # type: ignore[attr-defined]
    variables, files = EXAMPLES[first(setting)]
    for path, text in ({f"etc/{n}": t for n, t in ETC.items()} | files).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    listed = tmp_path / "mine.list"
    listed.write_text(DEB)
    folder = tmp_path / "certificates"
    folder.mkdir()
    marks = {"file": listed, "dir": folder, "list": listed}
    environ = {name: value.format(**marks) for name, value in variables.items()}

    def sources(given: dict[str, str]) -> Callable[[], object]:
        return lambda: discover(
            given, home=tmp_path / "home", etc=tmp_path / "etc", apt_config=lambda: APT
        )

    shown = [f for f in registries(sources(environ)) if f.name == "setting"]  # type: ignore[arg-type]
    told = "\n".join(finding.found for finding in shown)
    wanted = [name.lower() for name in environ] or [Path(name).name for name in files][-1:]
    if first(setting) == "apt.conf":
        wanted = ["acquire::http::proxy"]
    if first(setting).startswith("Acquire"):
        wanted = [first(setting).lower()]
    if "mine.list" in str(environ):
        wanted = ["mine.list"]
    assert any(name in told.lower() for name in wanted), told
    assert "hunter2" not in told
    assert "hunter2" not in str(sources(environ)())


STORED = "home/.local/share/uv/credentials/credentials.toml"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("home/.netrc", "machin h login u"),
        (STORED, "[[credential]]\nservice = 1\n"),
        (STORED, '[[credential]]\nservice = "https://h:x/"\nusername = "u"\npassword = "p"\n'),
        (STORED, '[[credential]]\nservice = 1\nusername = "u"\npassword = "p"\n'),
        (STORED, 'credential = "x"\n'),
        ("etc/apt/auth.conf", "machine [ login u password p"),
        ("etc/apt/auth.conf.d/vendor.conf", "machine h:99999 login u password p"),
    ],
)
def test_logins_that_cannot_be_read_are_told(tmp_path: Path, file: str, text: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    sources = discover({}, home=tmp_path / "home", etc=tmp_path / "etc")
    (found,) = [f for f in sources.settings() if not f.works]
    assert str(path) in found.value
    assert sources.network.credentials.logins == ()


@pytest.mark.parametrize("inside", ["home", "home/.config", "etc/apt"])
def test_folders_that_this_user_may_not_enter_are_told_and_passed_over(
    tmp_path: Path, inside: str
) -> None:
    """As with ``sudo -E -u USER``, where ``HOME`` is still root's."""
    for name in (".netrc", ".config/uv/uv.toml", ".config/pip/pip.conf", ".m2/settings.xml"):
        (tmp_path / "home" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "home" / name).write_text("")
    (tmp_path / "etc/apt").mkdir(parents=True)
    (tmp_path / "etc/os-release").write_text(ETC["os-release"])
    environ = {"UV_DEFAULT_INDEX": "https://i.example/simple"}

    def look() -> list[tuple[str, str]]:
        sources = discover(environ, home=tmp_path / "home", etc=tmp_path / "etc")
        return [(found.setting, found.value) for found in sources.settings() if not found.works]

    (tmp_path / "home/.m2/settings.xml").write_text("<settings/>")
    assert look() == []
    with closed(tmp_path / inside):
        assert look() == [(str(tmp_path / inside), "this user may not read it")]


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Let this process not enter a folder; root may enter all of them, so it is another user."""
    root = os.geteuid() == 0
    above = [path for path in folder.parents if root and path.stat().st_mode & 0o11 != 0o11]
    modes = {path: path.stat().st_mode for path in (folder, *above)}
    for path in above:
        path.chmod(modes[path] | 0o11)
    folder.chmod(0)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)


def test_what_is_no_file_among_apt_s_is_passed_over(tmp_path: Path) -> None:
    lists = tmp_path / "etc/apt/sources.list.d"
    lists.mkdir(parents=True)
    (tmp_path / "etc/os-release").write_text(ETC["os-release"])
    (lists / "gone.sources").symlink_to(tmp_path / "nowhere")
    (lists / "folder.sources").mkdir()
    (lists / "folder.list").mkdir()
    (lists / "ours.list").write_text(DEB)
    sources = discover({}, home=tmp_path / "home", etc=tmp_path / "etc")
    assert [source.uri for source in sources.debian] == ["http://mirror/debian"]
    assert [found for found in sources.settings() if not found.works] == []


def test_pip_s_files_count_as_pip_reads_them(tmp_path: Path) -> None:
    files = {
        "etc/xdg/pip/pip.conf": "system",
        "etc/pip.conf": "etc",
        "home/.pip/pip.conf": "old",
        "home/.config/pip/pip.conf": "user",
        "named.conf": "named",
    }

    def index(**environ: str) -> str:
        sources = discover(environ, home=tmp_path / "home", etc=tmp_path / "etc")
        return sources.indexes[-1].removeprefix("https://i.example/").rstrip("/")

    told = []
    for name, word in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"[global]\nindex-url = https://i.example/{word}\n")
        told.append(index())
    assert told == ["system", "etc", "old", "user", "user"]
    named = str(tmp_path / "named.conf")
    assert index(PIP_CONFIG_FILE=named) == "named"
    assert index(PIP_CONFIG_FILE=os.devnull) == index(PIP_CONFIG_FILE="/dev/null")
    assert "i.example" not in index(PIP_CONFIG_FILE=os.devnull)
    assert index(PIP_CONFIG_FILE=str(tmp_path / "nowhere")) == "user"
    Path(named).write_text("")  # the user's do not count beside it
    assert index(PIP_CONFIG_FILE=named) == "etc"
    assert index(XDG_CONFIG_DIRS=str(tmp_path / "nowhere")) == "user"


def test_every_row_has_an_example() -> None:
    assert set(EXAMPLES) == {first(row.setting) for row in ROWS}


@pytest.mark.parametrize(
    ("entry", "host", "port", "direct"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "a.example.com", 443, True),
        (".example.com", "a.example.com", 443, True),
        (".example.com", "example.com", 443, True),
        ("*.example.com", "a.example.com", 443, True),
        ("EXAMPLE.com.", "a.example.COM", 443, True),
        ("example.com", "badexample.com", 443, False),
        ("example.com", "example.com.evil", 443, False),
        ("example.com:8443", "example.com", 8443, True),
        ("example.com:8443", "example.com", 443, False),
        ("127.0.0.1", "127.0.0.1", 80, True),
        ("127.0.0.0/8", "127.9.9.9", 80, True),
        ("10.0.0.0/8", "11.0.0.1", 80, False),
        ("10.0.0.1/8", "10.200.0.1", 80, True),
        ("10.0.0.0/8", "10.example.com", 80, False),
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("::1", "::1", 80, True),
        ("[::1]", "::1", 80, True),
        ("[::1]:8080", "::1", 8080, True),
        ("[::1]:8080", "::1", 80, False),
        ("fd00::/8", "fd12::1", 80, True),
        ("192.168.0.0/16", "::ffff:192.168.1.1", 80, True),
        ("*", "anything", 80, True),
        ("", "anything", 80, False),
        (".", "anything", 80, False),
        ("/8", "127.0.0.1", 80, False),
    ],
)
def test_no_proxy_is_read_as_curl_and_uv_read_it(
    entry: str, host: str, port: int, direct: bool
) -> None:
    assert matches(entry, host, port) is direct


def test_the_lower_case_variable_goes_first_and_an_empty_one_switches_off() -> None:
    def of(**environ: str) -> str | None:
        found = Proxies(environment=environment(environ)).of("http://h/")
        return found.url if found else None

    assert of(http_proxy="http://a", HTTP_PROXY="http://b") == "http://a"
    assert of(http_proxy="", HTTP_PROXY="http://b") is None
    assert of(HTTP_PROXY="b:1") == "http://b:1"
    assert of(HTTP_PROXY="http://b", REQUEST_METHOD="GET") is None
    assert of(http_proxy="http://a", no_proxy=" x , h ") is None
    assert of(https_proxy="http://a") is None
    assert of(ALL_PROXY="socks://a:1") == "socks5h://a:1"


def test_passwords_are_taken_out_of_text() -> None:
    assert without_secrets("https://u:p@h:8/x?token=1#f") == "https://h:8/x"
    assert (
        redacted("GET https://u:p%40@h/x failed, http://t@h") == "GET https://h/x failed, http://h"
    )
    assert redacted("Authorization: Basic dTpw") == "Authorization: Basic ***"
    assert redacted("mail me@example.org") == "mail me@example.org"


@pytest.mark.parametrize(
    "variable", ["UV_DEFAULT_INDEX", "MLRUNTIME_MAVEN_REPOSITORY", "MLRUNTIME_DEBIAN_SNAPSHOT"]
)
def test_what_is_no_address_is_told_with_its_setting(tmp_path: Path, variable: str) -> None:
    with pytest.raises(UsageError, match=f"{variable} has an invalid address") as caught:
        discover({variable: "http://u:hunter2@h:port/x"}, home=tmp_path, etc=tmp_path)
    assert "hunter2" not in str(caught.value)


VARIABLES = (
    "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "no_proxy", "SSL_CERT_FILE", "PIP_CERT", "NETRC",
    "UV_DEFAULT_INDEX", "UV_INDEX", "PIP_EXTRA_INDEX_URL", "UV_KEYRING_PROVIDER", "MAVEN_OPTS",
    "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT", "UV_OFFLINE", "PIP_PROXY", "MLRUNTIME_DEBIAN_SNAPSHOT",
    "MLRUNTIME_MAVEN_REPOSITORY",
)  # fmt: skip
FILES = (
    "home/.netrc", "home/.config/uv/uv.toml", "home/.config/pip/pip.conf", "home/.m2/settings.xml",
    "etc/apt/sources.list", "etc/apt/sources.list.d/a.sources", "etc/apt/auth.conf",
    "etc/apt/apt.conf", "home/.local/share/uv/credentials/credentials.toml", "home/.condarc",
)  # fmt: skip
WORDS = st.lists(
    st.sampled_from(
        [
            "http://",
            "socks5://",
            "file:",
            "mirror+file:/x",
            "u:p@",
            "[::1]",
            "[",
            "]",
            ":",
            "80",
            "99999",
            "h",
            "/x",
            "@",
            "%",
            " ",
            "\n",
            "=",
            '"a"',
            "{",
            "}",
            "*",
            "/8",
            "10.0.0.0",
            "nan",
            "-1",
            "1",
            "name=",
            "[[index]]\n",
            "[pip]\n",
            "[global]\n",
            "index-url = ",
            "url = ",
            "[[credential]]\n",
            "service = ",
            "credential = ",
            "channel_alias: ",
            "<settings>",
            "<mirror>",
            "<url>",
            "</url>",
            "default ",
            "machine ",
            "login ",
            "password ",
            "Types: deb\n",
            "URIs: ",
            "Suites: bookworm\n",
            "Components: main\n",
            "deb ",
            "bookworm main",
            "-Dhttps.proxyHost=",
            "Acquire",
            "\udce9",
        ]
    ),
    max_size=9,
).map("".join)


@given(
    environ=st.dictionaries(st.sampled_from(VARIABLES), WORDS, max_size=4),
    files=st.dictionaries(st.sampled_from(FILES), WORDS, max_size=4),
    dump=WORDS,
)
def test_whatever_is_set_is_read_or_refused(
    environ: dict[str, str], files: dict[str, str], dump: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for path, text in ({f"etc/{n}": t for n, t in ETC.items()} | files).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(text.encode(errors="surrogateescape"))
        try:
            sources = discover(
                environ, home=root / "home", etc=root / "etc", apt_config=lambda: dump
            )
            sources.settings()
            apt_logins(sources)
            uv_environ(environ, sources)
            apt_lines(sources, root)
        except MlruntimeError as error:
            assert error.exit_code in (2, 6)


@pytest.mark.starts
def test_what_a_tool_says_is_told_without_passwords() -> None:
    heard: list[str] = []
    run(["sh", "-c", "echo http://u:hunter2@h/x >&2"], env=dict(os.environ), heard=heard.append)
    assert heard == ["http://h/x\n"]
