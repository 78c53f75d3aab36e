"""The table of docs/host-settings.md: which of this host's settings are honoured, and by whom.

Tests hold it to the code: each name in a row is set on a host of its own, must be found there, and
must count for the parts of the row and for no other.
"""

from dataclasses import dataclass
from typing import Final, Literal

Part = Literal["Debian", "PyPI", "Maven"]
_ALL: Final[tuple[Part, ...]] = ("Debian", "PyPI", "Maven")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A setting, whose it is, what it does here, the parts that follow it, and its test."""

    setting: str
    client: str
    does: str
    test: str
    parts: tuple[Part, ...] = _ALL


ROWS: Final = (
    Row(
        setting="`http_proxy`, `https_proxy`",
        client="curl, uv, pip, apt",
        does="the proxy for addresses of that scheme, in upper or lower case (lower case first)",
        test="test_a_proxy_is_used_by_the_lock_and_by_downloads",
    ),
    Row(
        setting="`all_proxy`",
        client="curl, uv, pip",
        does="the proxy for both schemes; `socks5://`, `socks5h://` and `socks://` too",
        test="test_a_socks_proxy_is_used_by_the_lock_and_by_downloads",
    ),
    Row(
        setting="`no_proxy`",
        client="curl, uv, pip, apt",
        does="hosts reached directly: names, suffixes, addresses, networks (`10.0.0.0/8`),"
        " ports (`host:8080`), `*`",
        test="test_no_proxy_is_read_as_curl_and_uv_read_it",
    ),
    Row(
        setting="`SSL_CERT_FILE`, `PIP_CERT`, `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`",
        client="OpenSSL, uv, pip, requests, curl",
        does="the authorities that are trusted, in this order, after `--ca-bundle`",
        test="test_authorities_are_trusted_by_the_lock_and_by_downloads",
    ),
    Row(
        setting="`SSL_CERT_DIR`",
        client="OpenSSL, uv",
        does="directories of authorities, trusted as well",
        test="test_authorities_are_trusted_by_the_lock_and_by_downloads",
    ),
    Row(
        setting="`SSL_CLIENT_CERT`, `PIP_CLIENT_CERT`",
        client="uv, pip",
        does="the certificate, with its key, that this host shows",
        test="test_the_client_certificate_is_shown",
    ),
    Row(
        setting="`~/.netrc`, `NETRC`",
        client="curl, uv, pip",
        does="logins by host",
        test="test_a_login_is_used_by_the_lock_and_by_downloads",
    ),
    Row(
        setting="`UV_DEFAULT_INDEX`, `UV_INDEX_URL`, `UV_INDEX`, `UV_EXTRA_INDEX_URL`",
        client="uv",
        does="the indexes; a user name and password in them are the login",
        test="test_indexes_from_the_environment",
        parts=("PyPI",),
    ),
    Row(
        setting="`UV_INDEX_NAME_USERNAME`, `UV_INDEX_NAME_PASSWORD`",
        client="uv",
        does="the login of the index called NAME",
        test="test_a_login_is_used_by_the_lock_and_by_downloads",
        parts=("PyPI",),
    ),
    Row(
        setting="`uv auth login`",
        client="uv",
        does="the logins that it has stored (`credentials.toml`, also in `UV_CREDENTIALS_DIR`)",
        test="test_a_login_is_used_by_the_lock_and_by_downloads",
        parts=("PyPI",),
    ),
    Row(
        setting="`UV_KEYRING_PROVIDER`, `PIP_KEYRING_PROVIDER`",
        client="uv, pip",
        does="`subprocess`: passwords are asked of the program `keyring`",
        test="test_a_keyring_is_asked",
        parts=("PyPI",),
    ),
    Row(
        setting="`UV_OFFLINE`",
        client="uv",
        does="no package index is asked; what is in the store is used",
        test="test_offline_means_that_no_index_is_asked",
        parts=("PyPI",),
    ),
    Row(
        setting="`UV_INSECURE_HOST`, `PIP_TRUSTED_HOST`",
        client="uv, pip",
        does="hosts whose certificates are not checked",
        test="test_authorities_are_trusted_by_the_lock_and_by_downloads",
    ),
    Row(
        setting="`UV_HTTP_TIMEOUT`, `UV_REQUEST_TIMEOUT`, `HTTP_TIMEOUT`, `PIP_TIMEOUT`,"
        " `PIP_DEFAULT_TIMEOUT`",
        client="uv, pip",
        does="how long a server may be silent, in seconds",
        test="test_time_limits",
    ),
    Row(
        setting="`uv.toml`",
        client="uv",
        does="`index`, `index-url`, `extra-index-url`, `keyring-provider`, `offline`,"
        " `http-proxy`, `https-proxy`, `no-proxy`; the user's, then the system's, or"
        " `UV_CONFIG_FILE` alone",
        test="test_indexes_from_files_uv_before_pip",
        parts=("PyPI",),
    ),
    Row(
        setting="`allow-insecure-host` of `uv.toml`",
        client="uv",
        does="hosts whose certificates are not checked",
        test="test_each_name_of_a_row_counts_for_its_parts",
    ),
    Row(
        setting="`PIP_INDEX_URL`, `PIP_EXTRA_INDEX_URL`",
        client="pip",
        does="the index, where uv has no default index of its own; extra ones in any case",
        test="test_indexes_from_the_environment",
        parts=("PyPI",),
    ),
    Row(
        setting="`PIP_PROXY`, `UV_HTTP_PROXY`, `UV_HTTPS_PROXY`, `UV_NO_PROXY`",
        client="pip, uv",
        does="the proxy for indexes, and hosts reached directly",
        test="test_a_part_s_own_proxy_is_its_own",
        parts=("PyPI",),
    ),
    Row(
        setting="`pip.conf`",
        client="pip",
        does="`index-url`, `extra-index-url`, `proxy`, `keyring-provider`; the system's, the user's"
        " or `PIP_CONFIG_FILE`, the last one counts; `/dev/null` there: none of them",
        test="test_indexes_from_files_uv_before_pip",
        parts=("PyPI",),
    ),
    Row(
        setting="`cert`, `client-cert`, `trusted-host`, `timeout` of `pip.conf`",
        client="pip",
        does="as the variables for these, which go first",
        test="test_each_name_of_a_row_counts_for_its_parts",
    ),
    Row(
        setting="`~/.m2/settings.xml`, `/etc/maven/settings.xml`",
        client="Maven",
        does="a `mirror` of central, the repository `central` of an active profile, each `server`"
        " (`password` or `httpHeaders`, `${env.NAME}`), each `proxy` with `nonProxyHosts`",
        test="test_maven_s_settings",
        parts=("Maven",),
    ),
    Row(
        setting="`MAVEN_OPTS`, `JAVA_TOOL_OPTIONS`",
        client="Maven, Java",
        does="`-Dhttps.proxyHost` and `-Dhttps.proxyPort`, `-Dhttp.proxyHost` and"
        " `-Dhttp.proxyPort`, `-Dhttp.nonProxyHosts`",
        test="test_java_s_own_proxies",
        parts=("Maven",),
    ),
    Row(
        setting="`MLRUNTIME_MAVEN_REPOSITORY`",
        client="mlruntime",
        does="the Maven repository, instead of the one of the settings",
        test="test_maven_from_a_mirror_in_settings_and_from_the_environment",
        parts=("Maven",),
    ),
    Row(
        setting="`sources.list`, `*.list`, `*.sources`",
        client="apt",
        does="Debian's own archives, with every option about how far they are believed"
        " (`Signed-By`, `Trusted`, `Check-Valid-Until`, …); lists of mirrors (`mirror+file:`)",
        test="test_an_expired_archive_is_read_where_it_says_so",
        parts=("Debian",),
    ),
    Row(
        setting="`apt.conf`, `apt.conf.d/`",
        client="apt",
        does="`Acquire::http::Proxy`, also by host; for the lock everything in `Acquire::http`",
        test="test_apt_s_own_proxies",
        parts=("Debian",),
    ),
    Row(
        setting="`Acquire::Check-Valid-Until`, `Max-ValidTime`, `Min-ValidTime`, `ForceIPv4`,"
        " `ForceIPv6` of `apt.conf`",
        client="apt",
        does="for the lock: how old archives may be, and which IP reaches them",
        test="test_what_apt_is_told_of_all_archives_counts",
        parts=("Debian",),
    ),
    Row(
        setting="`auth.conf`, `auth.conf.d/`",
        client="apt",
        does="logins of archives",
        test="test_apt_gets_logins_and_proxies",
        parts=("Debian",),
    ),
    Row(
        setting="`MLRUNTIME_DEBIAN_SOURCES`",
        client="mlruntime",
        does="a `.sources` or `.list` file that is read instead of apt's",
        test="test_a_host_that_is_not_debian_uses_what_it_is_given",
        parts=("Debian",),
    ),
    Row(
        setting="`MLRUNTIME_DEBIAN_SNAPSHOT`",
        client="mlruntime",
        does="archives of the past, by their addresses (with the time), asked last for packages"
        " that the mirrors have dropped",
        test="test_a_snapshot_has_what_the_mirror_dropped",
        parts=("Debian",),
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherRow:
    """A setting that is about no ecosystem of the table above, whose it is, and what it does."""

    setting: str
    client: str
    does: str


OTHER_ROWS: Final = (
    OtherRow(
        setting="`DOCKER_HOST`",
        client="docker",
        does="the address of the engine; goes before contexts",
    ),
    OtherRow(
        setting="`DOCKER_TLS_VERIFY`, `DOCKER_CERT_PATH`",
        client="docker",
        does="that the engine's certificate is checked; the folder with `ca.pem`, `cert.pem` and"
        " `key.pem`",
    ),
    OtherRow(
        setting="`DOCKER_CONTEXT`, `currentContext`",
        client="docker",
        does="the context that names the engine, and its certificates",
    ),
    OtherRow(
        setting="`DOCKER_CONFIG`",
        client="docker",
        does="the folder with `config.json`, contexts and logins, instead of `~/.docker`",
    ),
    OtherRow(
        setting="`auths`, `credHelpers`, `credsStore`",
        client="docker, podman",
        does="logins for container registries, in `config.json` or podman's `auth.json`",
    ),
    OtherRow(
        setting="`REGISTRY_AUTH_FILE`",
        client="podman, skopeo",
        does="another file with these logins, asked first",
    ),
    OtherRow(
        setting="`MLRUNTIME_CONDA_CHANNELS`",
        client="mlruntime",
        does="the addresses of conda channels, by name",
    ),
    OtherRow(
        setting="`CONDA_CHANNEL_ALIAS`",
        client="conda",
        does="where all other channels with a name are",
    ),
    OtherRow(
        setting="`CONDARC`, `.condarc`",
        client="conda",
        does="files with `custom_channels` and `channel_alias`",
    ),
)


def other_markdown() -> str:
    """Return the table of the other settings."""
    rows = (f"| {row.setting} | {row.client} | {row.does} |" for row in OTHER_ROWS)
    return "\n".join(["| setting | whose | what it does |", "| --- " * 3 + "|", *rows]) + "\n"


def markdown() -> str:
    """Return the table."""
    lines = ["| setting | whose | what it does | Debian | PyPI | Maven |", "| --- " * 6 + "|"]
    for row in ROWS:
        marks = " | ".join("yes" if part in row.parts else "" for part in _ALL)
        lines.append(f"| {row.setting} | {row.client} | {row.does} | {marks} |".replace("  ", " "))
    return "\n".join(lines) + "\n"
