"""What conda is configured to use: where channels are, by name, and their logins."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from mlruntime.errors import Unavailable, UsageError
from mlruntime.host.secrets import without_secrets
from mlruntime.host.settings.credentials import Login, of_url
from mlruntime.host.settings.files import is_there
from mlruntime.host.settings.network import Found

_VARIABLE: Final = "MLRUNTIME_CONDA_CHANNELS"
_ALIAS: Final = "CONDA_CHANNEL_ALIAS"
_SCHEMES: Final = ("http", "https", "file")


@dataclass(frozen=True, kw_only=True, slots=True)
class CondaSettings:
    """Addresses without secrets: ``named`` of channels, ``alias`` of all others (``""``: none)."""

    named: tuple[tuple[str, str], ...] = ()
    alias: str = ""
    logins: tuple[Login, ...] = ()
    found: tuple[Found, ...] = ()


def conda_settings(environ: Mapping[str, str], home: Path, etc: Path) -> CondaSettings:
    """Read ``MLRUNTIME_CONDA_CHANNELS``, then conda's own variable and ``.condarc`` files."""
    named: dict[str, str] = {}
    logins: list[Login] = []
    found: list[Found] = []

    def address(url: str, setting: str) -> str:
        bare, own = of_url(url, setting, "conda")
        if urlsplit(bare).scheme not in _SCHEMES:
            raise UsageError(
                f"{setting} has no channel's address: {without_secrets(url)}",
                hint="known: http://…, https://…, file:///…",
            )
        logins.extend(own)
        return bare.rstrip("/")

    for name, url in _words(environ.get(_VARIABLE, "")):
        named[name] = address(url, _VARIABLE)
        found.append(Found(setting=_VARIABLE, value=f"{name} is {named[name]}"))
    alias = address(environ[_ALIAS], _ALIAS) if environ.get(_ALIAS) else ""
    if alias:
        found.append(Found(setting=_ALIAS, value=alias))
    for path in filter(is_there, conda_files(environ, home, etc)):
        content = _read(path)
        for name, base in _pairs(content.get("custom_channels")):
            if name not in named:
                named[name] = f"{address(base, str(path))}/{name}"
                found.append(Found(setting=str(path), value=f"{name} is {named[name]}"))
        given = content.get("channel_alias")
        if not alias and isinstance(given, str) and given:
            alias = address(given, str(path))
            found.append(Found(setting=str(path), value=alias))
    return CondaSettings(
        named=tuple(named.items()), alias=alias, logins=tuple(logins), found=tuple(found)
    )


def _words(text: str) -> Iterator[tuple[str, str]]:
    for word in text.split():
        name, equals, url = word.partition("=")
        if not equals or not name or not url:
            raise UsageError(
                f"{_VARIABLE} cannot be read: {without_secrets(word)}",
                hint="write NAME=ADDRESS for each channel, with spaces between them",
            )
        yield name, url


def conda_files(environ: Mapping[str, str], home: Path, etc: Path) -> list[Path]:
    """Return the files that conda reads, the user's first."""
    own = [Path(environ["CONDARC"])] if environ.get("CONDARC") else []
    return [*own, home / ".condarc", home / ".config/conda/.condarc", etc / "conda/.condarc"]


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise Unavailable(
            "conda's settings cannot be read", where=str(path), why=str(error)
        ) from None
    return content if isinstance(content, dict) else {}


def _pairs(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, base in value.items():
            if isinstance(name, str) and isinstance(base, str):
                yield name, base
