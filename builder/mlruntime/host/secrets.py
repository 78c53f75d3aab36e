"""Removing passwords from addresses and text that are shown; nothing else does this."""

import re
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

_IN_URL: Final = re.compile(r"(?<=://)[^\s/'\"<>]+@")
_HEADER: Final = re.compile(r"(?i)(authorization:?\s*(?:basic|bearer)\s+)\S+")


def without_secrets(url: str) -> str:
    """Return a URL as it may be shown: no user name, password or query."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no address, but it may have a password
        return redacted(re.split(r"[?#]", url)[0])
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def redacted(text: str) -> str:
    """Return text of another program as it may be shown: no user name or password in any URL."""
    return _HEADER.sub(r"\1***", _IN_URL.sub("", text))


def taken_apart(url: str) -> tuple[str, str, str | None]:
    """Return a URL without its user name and password, and those two, decoded.

    Raises ``ValueError`` for what is no URL.
    """
    parts = urlsplit(url)
    given, at, place = parts.netloc.rpartition("@")
    if not at:
        return url, "", None
    user, colon, password = given.partition(":")
    bare = urlunsplit((parts.scheme, place, parts.path, parts.query, parts.fragment))
    return bare, unquote(user), unquote(password) if colon else None
