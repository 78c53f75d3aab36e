"""What uv and pip are configured to use: indexes, and how they are reached."""

import configparser
import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlruntime.errors import Unavailable
from mlruntime.host.secrets import without_secrets
from mlruntime.host.settings.credentials import Login, of_url, of_variables
from mlruntime.host.settings.files import is_there
from mlruntime.host.settings.network import Found
from mlruntime.host.settings.proxies import Proxy, ProxyRules, proxy


@dataclass(frozen=True, kw_only=True, slots=True)
class PythonSettings:
    """The indexes, the default one last, and what uv's and pip's settings say of the network.

    ``cert`` and ``client_cert`` are (setting, path); ``keyring`` is the setting that asks for it,
    ``offline`` the one that forbids indexes to be asked.
    """

    indexes: tuple[str, ...]
    logins: tuple[Login, ...] = ()
    rules: ProxyRules = field(default_factory=ProxyRules)
    insecure: tuple[str, ...] = ()
    timeout: float | None = None
    cert: tuple[tuple[str, str], ...] = ()
    client_cert: tuple[tuple[str, str], ...] = ()
    keyring: str | None = None
    offline: str | None = None
    found: tuple[Found, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Index:
    url: str
    setting: str
    name: str = ""


def python_settings(environ: Mapping[str, str], home: Path, etc: Path) -> PythonSettings:
    """Read uv's and pip's variables and files; uv's go before pip's, variables before files."""
    uv, uv_file = _uv_file(environ, home, etc)
    pip, pip_file = _pip_files(environ, home, etc)
    indexes = _indexes(environ, uv, uv_file, pip, pip_file)
    bare: dict[str, str] = {}
    logins: list[Login] = []
    for index in indexes:
        url, own = of_url(index.url.rstrip("/") + "/", index.setting, "pypi")
        bare.setdefault(url, index.setting)
        named = of_variables(environ, index.name, url, "pypi") if index.name else ()
        # A user's name alone in the URL or the file: the variables may have the password.
        logins += [*named, *own]
    found = [Found(setting=where, value=without_secrets(url)) for url, where in bare.items()]
    picked = _Picked(environ, uv, uv_file, pip, pip_file)
    network = _network(picked)
    return replace(
        network, indexes=tuple(bare), logins=tuple(logins), found=(*found, *network.found)
    )


@dataclass(frozen=True, slots=True)
class _Picked:
    """Looks a setting up: variables, then uv's file, then pip's."""

    environ: Mapping[str, str]
    uv: Mapping[str, Any]
    uv_file: str
    pip: Mapping[str, str]
    pip_file: str

    def of(
        self, variables: tuple[str, ...], uv: str = "", pip: str = ""
    ) -> Iterator[tuple[str, Any]]:
        """Yield (setting, value) of all that are set, the one that counts first."""
        for name in variables:
            if self.environ.get(name):
                yield name, self.environ[name]
        if uv and self.uv.get(uv):
            yield f"{uv} in {self.uv_file}", self.uv[uv]
        if pip and self.pip.get(pip):
            yield f"{pip} in {self.pip_file}", self.pip[pip]


def _network(picked: _Picked) -> PythonSettings:
    exceptions = list(picked.of(("UV_NO_PROXY",), "no-proxy"))[:1]
    insecure = list(
        picked.of(("UV_INSECURE_HOST", "PIP_TRUSTED_HOST"), "allow-insecure-host", "trusted-host")
    )
    timeout, limits = _time_limit(picked)
    offline = next(
        (setting for setting, value in picked.of(("UV_OFFLINE",), "offline") if _on(value)), None
    )
    return PythonSettings(
        indexes=(),
        rules=ProxyRules(
            schemes=tuple(_proxies(picked)),
            exceptions=tuple(word for _, value in exceptions for word in _words(value)),
        ),
        insecure=tuple(host for _, value in insecure for host in _words(value)),
        timeout=timeout,
        cert=tuple(picked.of((), "", "cert")),
        client_cert=tuple(picked.of(("SSL_CLIENT_CERT", "PIP_CLIENT_CERT"), "", "client-cert")),
        keyring=_keyring(picked),
        offline=offline,
        found=(
            *(Found(setting=setting, value=" ".join(_words(v))) for setting, v in exceptions),
            *(
                Found(setting=s, value=f"{' '.join(_words(v))}: certificates are not checked")
                for s, v in insecure
            ),
            *limits,
            *([Found(setting=offline, value="no package index is asked")] if offline else []),
        ),
    )


def _proxies(picked: _Picked) -> Iterator[tuple[str, Proxy]]:
    for scheme in ("http", "https"):
        named = picked.of((f"UV_{scheme.upper()}_PROXY", "PIP_PROXY"), f"{scheme}-proxy", "proxy")
        for setting, value in named:
            yield scheme, proxy(str(value), setting)
            break


def _time_limit(picked: _Picked) -> tuple[float | None, list[Found]]:
    variables = ("UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "HTTP_TIMEOUT", "PIP_TIMEOUT")
    found: list[Found] = []
    for setting, value in picked.of((*variables, "PIP_DEFAULT_TIMEOUT"), "", "timeout"):
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0
        if 0 < seconds < math.inf:
            return seconds, [*found, Found(setting=setting, value=f"{value} s")]
        hint = "give it in seconds"
        found.append(Found(setting=setting, value=str(value), works=False, hint=hint))
    return None, found


def _keyring(picked: _Picked) -> str | None:
    """Return the setting that has passwords asked of ``keyring``, if there is one."""
    name = "keyring-provider"
    named = picked.of(("UV_KEYRING_PROVIDER", "PIP_KEYRING_PROVIDER"), name, name)
    return next((setting for setting, value in named if value in ("subprocess", "import")), None)


def _on(value: Any) -> bool:
    return str(value).strip().lower() in ("1", "true", "t", "yes", "y", "on")


def _words(value: Any) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list) else re.split(r"[,\s]+", value)


def _indexes(
    environ: Mapping[str, str], uv: Mapping[str, Any], uv_file: str, pip: Mapping[str, str],
    pip_file: str,
) -> list[_Index]:  # fmt: skip
    """Return the extra indexes, then the default one; uv's settings go before pip's."""
    default: _Index | None = None
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if environ.get(name):
            default = default or _named(environ[name], name)
    extra = [
        _named(word, name)
        for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL")
        for word in environ.get(name, "").split()
    ]
    if default is None:
        default, found = _uv_indexes(uv, uv_file)
        extra += found
    if default is None and environ.get("PIP_INDEX_URL"):
        default = _Index(url=environ["PIP_INDEX_URL"], setting="PIP_INDEX_URL")
    extra += [
        _Index(url=url, setting="PIP_EXTRA_INDEX_URL")
        for url in environ.get("PIP_EXTRA_INDEX_URL", "").split()
    ]
    if default is None:
        if pip.get("index-url"):
            default = _Index(url=pip["index-url"], setting=pip_file)
        extra += [_Index(url=u, setting=pip_file) for u in pip.get("extra-index-url", "").split()]
    if default is None:
        from pypi_simple import PYPI_SIMPLE_ENDPOINT  # half a second to import

        default = _Index(url=PYPI_SIMPLE_ENDPOINT, setting="the default index")
    return [*extra, default]


def _uv_indexes(uv: Mapping[str, Any], file: str) -> tuple[_Index | None, list[_Index]]:
    """Return the default index of uv's file, if it has one, and the extra ones."""
    default, extra = None, []
    try:
        own = {**uv, **uv.get("pip", {})}
        if own.get("index-url"):
            default = _Index(url=str(own["index-url"]), setting=file)
        extra += [_Index(url=str(url), setting=file) for url in own.get("extra-index-url", [])]
        for index in own.get("index", []):
            entry = _Index(url=str(index["url"]), setting=file, name=index.get("name", ""))
            if index.get("default"):
                default = default or entry
            elif not index.get("explicit"):
                extra.append(entry)
    except (AttributeError, KeyError, TypeError):
        raise Unavailable(
            "uv's settings cannot be read",
            where=file,
            why="its indexes are not written as uv has them",
        ) from None
    return default, extra


def _named(text: str, setting: str) -> _Index:
    """Take the name off that uv allows before an index's address (``name=https://…``)."""
    if match := re.match(r"([A-Za-z0-9_.-]+)=(?=https?://|file:)", text):
        return _Index(url=text[match.end() :], setting=setting, name=match[1])
    return _Index(url=text, setting=setting)


def uv_files(environ: Mapping[str, str], home: Path, etc: Path) -> list[Path]:
    """Return the files that uv reads, the one that counts first."""
    if environ.get("UV_NO_CONFIG"):
        return []
    if environ.get("UV_CONFIG_FILE"):
        return [Path(environ["UV_CONFIG_FILE"])]
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return [config / "uv/uv.toml", etc / "uv/uv.toml"]


def pip_files(environ: Mapping[str, str], home: Path, etc: Path) -> list[Path]:
    """Return the files that pip reads, the one that counts last; see its ``Configuration``."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    system = (environ.get("XDG_CONFIG_DIRS") or str(etc / "xdg")).split(os.pathsep)
    files = [*(Path(folder) / "pip/pip.conf" for folder in system if folder), etc / "pip.conf"]
    # A file that is named, and there, takes the place of the user's.
    if named is None or not is_there(Path(named)):
        config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        files += [home / ".pip/pip.conf", config / "pip/pip.conf"]
    return [*files, *([Path(named)] if named else [])]


def _uv_file(environ: Mapping[str, str], home: Path, etc: Path) -> tuple[dict[str, Any], str]:
    """Return uv's settings, the user's before the system's, and where the first are from."""
    merged: dict[str, Any] = {}
    where = ""
    for path in uv_files(environ, home, etc):
        if not is_there(path):
            continue
        try:
            settings: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise Unavailable(
                "uv's settings cannot be read", where=str(path), why=str(error)
            ) from None
        where = where or str(path)
        for key, value in settings.items():
            if isinstance(value, list):
                merged[key] = [*merged.get(key, []), *value]
            else:
                merged.setdefault(key, value)
    return merged, where


def _pip_files(environ: Mapping[str, str], home: Path, etc: Path) -> tuple[dict[str, str], str]:
    """Return pip's settings (those of ``install`` before the ``global`` ones), and their file."""
    there = [path for path in pip_files(environ, home, etc) if is_there(path)]
    parser = configparser.RawConfigParser()
    try:
        parser.read(there, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        raise Unavailable("pip's settings cannot be read", why=str(error)) from None
    settings = {
        key.replace("_", "-"): value
        for section in ("global", "install")
        if parser.has_section(section)
        for key, value in parser.items(section)
    }
    return settings, str(there[-1]) if there else ""
