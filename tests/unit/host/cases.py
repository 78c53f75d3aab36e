"""Each name in the table of docs/host-settings.md, alone on a host, in the order of the table."""

from typing import Any, Final

from tests.unit.host.looks import (
    ADDRESSES,
    LOGIN,
    NOWHERE,
    PROXY,
    SOURCES,
    Case,
    Look,
    archive,
    direct,
    headers,
    index,
    keyring,
    login,
    offline,
    past,
    patience,
    proxy,
    repository,
    shown,
    trusted,
    trusted_directories,
    unchecked,
)

ETC: Final = {"etc/os-release": "ID=debian\nVERSION_CODENAME=bookworm\n"}
MIRROR: Final = "https://i.example/debian"
CLEAR: Final = (MIRROR, None, False, {})
INDEX: Final = "https://i.example/simple/"
UV: Final = "home/.config/uv/uv.toml"
PIP: Final = "home/.config/pip/pip.conf"
M2: Final = "home/.m2/settings.xml"
STORED: Final = (
    '[[credential]]\nservice = "https://h.example/"\nusername = "user"\npassword = "hunter2"\n'
)
NETRC: Final = "machine h.example login user password hunter2\n"
SERVER: Final = "<settings><servers><server><id>central</id>{}</server></servers></settings>"
PASSWORD: Final = SERVER.format("<username>user</username><password>hunter2</password>")
HEADERS: Final = SERVER.format(
    "<configuration><httpHeaders><property><name>T</name><value>v</value></property></httpHeaders>"
    "</configuration>"
)
CENTRAL: Final = (
    "<settings><profiles><profile><id>p</id><repositories><repository><id>central</id>"
    "<url>https://i.example/maven</url></repository></repositories></profile></profiles>"
    "<activeProfiles><activeProfile>p</activeProfile></activeProfiles></settings>"
)
MIRRORED: Final = (
    "<settings><mirrors><mirror><id>m</id><mirrorOf>central</mirrorOf>"
    "<url>https://i.example/maven</url></mirror></mirrors></settings>"
)
MAVEN_PROXY: Final = (
    "<settings><proxies><proxy><host>p.example</host><port>3128</port>"
    "<nonProxyHosts>*.corp|h.example</nonProxyHosts></proxy></proxies></settings>"
)
PROXIED: Final = NOWHERE | {"http_proxy": PROXY}
ARCHIVES: Final = {"UV_DEFAULT_INDEX": INDEX}


def variables(row: str, look: Look, value: Any, text: str, *names: str) -> list[Case]:
    """One case for each variable, all with one text."""
    return [Case(row, name, look, value, {name: text}) for name in names]


def of_uv(name: str, look: Look, value: Any, text: str, row: str = "uv.toml") -> Case:
    return Case(row, name, look, value, files={UV: f"{text}\n"}, beside={})


def of_pip(name: str, look: Look, value: Any, row: str = "pip.conf", text: str = "") -> Case:
    text = text or str(value)
    return Case(row, name, look, value, files={PIP: f"[global]\n{name} = {text}\n"}, beside={})


def of_maven(name: str, look: Look, value: Any, text: str, **environ: str) -> Case:
    return Case("~/.m2/settings.xml", name, look, value, environ, {M2: text}, beside={})


def of_apt(name: str, text: str, value: Any, row: str = "sources.list") -> Case:
    file = "h.sources" if text.startswith("Types") else "h.list"
    path = f"etc/apt/sources.list.d/{file}"
    return Case(row, name, archive, value, files=ETC | {path: text}, beside=ARCHIVES)


CASES: Final = [
    *variables("http_proxy", proxy("http"), PROXY, PROXY, "http_proxy"),
    *variables("http_proxy", proxy("https"), PROXY, PROXY, "https_proxy"),
    *variables("all_proxy", proxy("https"), PROXY, PROXY, "all_proxy"),
    *(
        Case(
            "all_proxy",
            kind,
            proxy("http"),
            "socks5h://p.example:1",
            {"ALL_PROXY": f"{kind}p.example:1"},
        )
        for kind in ("socks5://", "socks5h://", "socks://")
    ),
    *(
        Case("no_proxy", name, direct(url), True, {"no_proxy": text}, beside=PROXIED)
        for name, text, url in (
            ("no_proxy", "corp.example", "http://a.corp.example/"),
            ("10.0.0.0/8", "10.0.0.0/8", "http://10.1.2.3/"),
            ("host:8080", "host:8080", "http://host:8080/"),
            ("*", "*", "http://any.example/"),
        )
    ),
    *variables(
        "SSL_CERT_FILE",
        trusted,
        "ca.pem",
        "{root}/ca.pem",
        "SSL_CERT_FILE",
        "PIP_CERT",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ),
    Case("SSL_CERT_FILE", "--ca-bundle", trusted, "ca.pem", bundle="ca.pem"),
    *variables("SSL_CERT_DIR", trusted_directories, True, "{root}/authorities", "SSL_CERT_DIR"),
    *variables(
        "SSL_CLIENT_CERT", shown, "me.pem", "{root}/me.pem", "SSL_CLIENT_CERT", "PIP_CLIENT_CERT"
    ),
    Case("~/.netrc", "~/.netrc", login, LOGIN, files={"home/.netrc": NETRC}),
    Case("~/.netrc", "NETRC", login, LOGIN, {"NETRC": "{root}/netrc"}, {"netrc": NETRC}),
    *(
        Case("UV_DEFAULT_INDEX", name, index, INDEX, {name: INDEX}, beside={})
        for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
    ),
    *(
        Case(
            "UV_INDEX_NAME_USERNAME",
            name,
            login,
            LOGIN,
            {name: text},
            beside=NOWHERE | {"UV_DEFAULT_INDEX": f"name={ADDRESSES['PyPI']}"} | other,
        )
        for name, text, other in (
            ("UV_INDEX_NAME_USERNAME", "user", {"UV_INDEX_NAME_PASSWORD": "hunter2"}),
            ("UV_INDEX_NAME_PASSWORD", "hunter2", {"UV_INDEX_NAME_USERNAME": "user"}),
        )
    ),
    *(
        Case("uv auth login", name, login, LOGIN, environ, {file: STORED})
        for name, environ, file in (
            ("uv auth login", {}, "home/.local/share/uv/credentials/credentials.toml"),
            (
                "credentials.toml",
                {"XDG_DATA_HOME": "{root}/d"},
                "d/uv/credentials/credentials.toml",
            ),
            ("UV_CREDENTIALS_DIR", {"UV_CREDENTIALS_DIR": "{root}/c"}, "c/credentials.toml"),
        )
    ),
    *variables(
        "UV_KEYRING_PROVIDER",
        keyring,
        True,
        "subprocess",
        "UV_KEYRING_PROVIDER",
        "PIP_KEYRING_PROVIDER",
    ),
    *variables("UV_OFFLINE", offline, True, "1", "UV_OFFLINE"),
    *variables(
        "UV_INSECURE_HOST", unchecked, True, "h.example", "UV_INSECURE_HOST", "PIP_TRUSTED_HOST"
    ),
    *variables(
        "UV_HTTP_TIMEOUT",
        patience,
        7,
        "7",
        "UV_HTTP_TIMEOUT",
        "UV_REQUEST_TIMEOUT",
        "HTTP_TIMEOUT",
        "PIP_TIMEOUT",
        "PIP_DEFAULT_TIMEOUT",
    ),
    of_uv("uv.toml", index, INDEX, f'index-url = "{INDEX}"'),
    of_uv("index", index, INDEX, f'[[index]]\nurl = "{INDEX}"'),
    of_uv("index-url", index, INDEX, f'index-url = "{INDEX}"'),
    of_uv("extra-index-url", index, INDEX, f'extra-index-url = ["{INDEX}"]'),
    of_uv("keyring-provider", keyring, True, 'keyring-provider = "subprocess"'),
    of_uv("offline", offline, True, "offline = true"),
    of_uv("http-proxy", proxy("http"), PROXY, f'http-proxy = "{PROXY}"'),
    of_uv("https-proxy", proxy("https"), PROXY, f'https-proxy = "{PROXY}"'),
    Case(
        "uv.toml",
        "no-proxy",
        direct("http://h.example/"),
        True,
        files={UV: 'no-proxy = ["h.example"]\n'},
        beside={"http_proxy": PROXY},
    ),
    Case(
        "uv.toml",
        "UV_CONFIG_FILE",
        index,
        INDEX,
        {"UV_CONFIG_FILE": "{root}/u.toml"},
        {"u.toml": f'index-url = "{INDEX}"\n'},
        beside={},
    ),
    Case(
        "allow-insecure-host",
        "allow-insecure-host",
        unchecked,
        True,
        files={UV: 'allow-insecure-host = ["h.example"]\n'},
    ),
    Case(
        "allow-insecure-host",
        "uv.toml",
        unchecked,
        True,
        files={"etc/uv/uv.toml": 'allow-insecure-host = ["h.example"]\n'},
    ),
    *(
        Case("PIP_INDEX_URL", name, index, INDEX, {name: INDEX}, beside={})
        for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL")
    ),
    *variables("PIP_PROXY", proxy("https"), PROXY, PROXY, "PIP_PROXY", "UV_HTTPS_PROXY"),
    *variables("PIP_PROXY", proxy("http"), PROXY, PROXY, "UV_HTTP_PROXY"),
    Case(
        "PIP_PROXY",
        "UV_NO_PROXY",
        direct("http://h.example/"),
        True,
        {"UV_NO_PROXY": "h.example"},
        beside=PROXIED,
    ),
    Case(
        "pip.conf",
        "pip.conf",
        index,
        INDEX,
        files={"etc/pip.conf": f"[install]\nindex-url = {INDEX}\n"},
        beside={},
    ),
    Case(
        "pip.conf",
        "PIP_CONFIG_FILE",
        index,
        INDEX,
        {"PIP_CONFIG_FILE": "{root}/p"},
        {"p": f"[global]\nindex_url = {INDEX}\n"},
        beside={},
    ),
    of_pip("index-url", index, INDEX),
    of_pip("extra-index-url", index, INDEX),
    of_pip("proxy", proxy("https"), PROXY),
    of_pip("keyring-provider", keyring, True, text="subprocess"),
    *(
        Case("cert", name, look, value, files={PIP: f"[global]\n{name} = {text}\n"})
        for name, look, value, text in (
            ("cert", trusted, "ca.pem", "{root}/ca.pem"),
            ("client-cert", shown, "me.pem", "{root}/me.pem"),
            ("trusted-host", unchecked, True, "h.example"),
            ("timeout", patience, 7, "7"),
        )
    ),
    Case(
        "cert",
        "pip.conf",
        trusted_directories,
        True,
        files={PIP: "[global]\ncert = {root}/authorities\n"},
    ),
    of_maven("~/.m2/settings.xml", repository, "https://i.example/maven", MIRRORED),
    Case(
        "~/.m2/settings.xml",
        "/etc/maven/settings.xml",
        repository,
        "https://i.example/maven",
        files={"etc/maven/settings.xml": MIRRORED},
        beside={},
    ),
    of_maven("mirror", repository, "https://i.example/maven", MIRRORED),
    of_maven("central", repository, "https://i.example/maven", CENTRAL),
    of_maven("server", login, LOGIN, PASSWORD),
    of_maven("password", login, LOGIN, PASSWORD),
    of_maven("httpHeaders", headers, (("T", "v"),), HEADERS),
    of_maven(
        "${env.NAME}", login, LOGIN, PASSWORD.replace("hunter2", "${env.NAME}"), NAME="hunter2"
    ),
    of_maven("proxy", proxy("https"), PROXY, MAVEN_PROXY),
    of_maven("nonProxyHosts", direct("http://h.example/"), True, MAVEN_PROXY),
    Case(
        "MAVEN_OPTS",
        "MAVEN_OPTS",
        proxy("https"),
        PROXY,
        {"MAVEN_OPTS": "-Dhttps.proxyHost=p.example -Dhttps.proxyPort=3128"},
    ),
    *(
        Case("MAVEN_OPTS", name, look, value, {"JAVA_TOOL_OPTIONS": f"-Xmx1g {text}"})
        for name, look, value, text in (
            (
                "JAVA_TOOL_OPTIONS",
                proxy("https"),
                "http://p.example:443",
                "-Dhttps.proxyHost=p.example",
            ),
            (
                "-Dhttps.proxyHost",
                proxy("https"),
                "http://p.example:443",
                "-Dhttps.proxyHost=p.example",
            ),
            (
                "-Dhttps.proxyPort",
                proxy("https"),
                PROXY,
                "-Dhttps.proxyHost=p.example -Dhttps.proxyPort=3128",
            ),
            (
                "-Dhttp.proxyHost",
                proxy("http"),
                "http://p.example:80",
                "-Dhttp.proxyHost=p.example",
            ),
            (
                "-Dhttp.proxyPort",
                proxy("http"),
                PROXY,
                "-Dhttp.proxyHost=p.example -Dhttp.proxyPort=3128",
            ),
            (
                "-Dhttp.nonProxyHosts",
                direct("http://h.example/"),
                True,
                "-Dhttp.proxyHost=p.example -Dhttp.nonProxyHosts=*.x|h.example",
            ),
        )
    ),
    Case(
        "MLRUNTIME_MAVEN_REPOSITORY",
        "MLRUNTIME_MAVEN_REPOSITORY",
        repository,
        "https://i.example/m",
        {"MLRUNTIME_MAVEN_REPOSITORY": "https://i.example/m"},
        beside={},
    ),
    Case(
        "sources.list",
        "sources.list",
        archive,
        CLEAR,
        files=ETC | {"etc/apt/sources.list": f"deb {MIRROR} bookworm main\n"},
        beside=ARCHIVES,
    ),
    of_apt("*.list", f"deb {MIRROR} bookworm main\n", CLEAR),
    of_apt("*.sources", SOURCES.format(MIRROR), CLEAR),
    of_apt(
        "Signed-By", SOURCES.format(MIRROR) + "Signed-By: /k.gpg\n", (MIRROR, "/k.gpg", False, {})
    ),
    of_apt("Trusted", SOURCES.format(MIRROR) + "Trusted: yes\n", (MIRROR, None, True, {})),
    of_apt(
        "Check-Valid-Until",
        f"deb [check-valid-until=no] {MIRROR} bookworm main\n",
        (MIRROR, None, False, {"Check-Valid-Until": "no"}),
    ),
    Case(
        "sources.list",
        "mirror+file:",
        archive,
        CLEAR,
        files=ETC
        | {
            "mirrors": f"{MIRROR}\n",
            "etc/apt/sources.list": "deb mirror+file:{root}/mirrors bookworm main\n",
        },
        beside=ARCHIVES,
    ),
    *(
        Case(
            "apt.conf",
            name,
            proxy("https"),
            PROXY,
            files={file: f'Acquire::http::Proxy "{PROXY}";\n'},
        )
        for name, file in (
            ("apt.conf", "etc/apt/apt.conf"),
            ("apt.conf.d/", "etc/apt/apt.conf.d/proxy"),
            ("Acquire::http::Proxy", "etc/apt/apt.conf.d/proxy"),
        )
    ),
    *(
        Case("auth.conf", name, login, LOGIN, files={file: NETRC})
        for name, file in (
            ("auth.conf", "etc/apt/auth.conf"),
            ("auth.conf.d/", "etc/apt/auth.conf.d/a.conf"),
        )
    ),
    *(
        Case(
            "MLRUNTIME_DEBIAN_SOURCES",
            name,
            archive,
            CLEAR,
            {"MLRUNTIME_DEBIAN_SOURCES": "{root}/" + file},
            {file: text},
            beside=ARCHIVES,
        )
        for name, file, text in (
            ("MLRUNTIME_DEBIAN_SOURCES", "a.sources", SOURCES.format(MIRROR)),
            (".sources", "a.sources", SOURCES.format(MIRROR)),
            (".list", "a.list", f"deb {MIRROR} x main\n"),
        )
    ),
    *variables(
        "MLRUNTIME_DEBIAN_SNAPSHOT",
        past,
        "http://s.example/a",
        "http://s.example/a",
        "MLRUNTIME_DEBIAN_SNAPSHOT",
    ),
]
# Names that take more than a look: the test that shows what they do.
ELSEWHERE: Final = {
    ("UV_KEYRING_PROVIDER", "subprocess"): "test_a_keyring_is_asked",
    ("UV_KEYRING_PROVIDER", "keyring"): "test_a_keyring_is_asked",
    ("pip.conf", "/dev/null"): "test_pip_s_files_count_as_pip_reads_them",
    ("apt.conf", "Acquire::http"): "test_what_apt_conf_says_of_http_reaches_the_archive",
    **{
        ("Acquire::Check-Valid-Until", name): "test_what_apt_is_told_of_all_archives_counts"
        for name in (
            "Acquire::Check-Valid-Until",
            "Max-ValidTime",
            "Min-ValidTime",
            "ForceIPv4",
            "ForceIPv6",
            "apt.conf",
        )
    },
}
