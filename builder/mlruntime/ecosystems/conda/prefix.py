"""The placeholder of a prefix in a package's files, replaced by the prefix it is installed to.

As conda does it: in text every occurrence; in binaries within their strings, which end with NUL,
so that each keeps its length. Core: bytes in, bytes out.
"""

import re
from typing import Final

# The longest first line of a script that every Linux kernel takes, the newline left out.
_SHEBANG_BYTES: Final = 127


class PrefixTooLong(ValueError):
    """A prefix that does not fit into a binary, which was made for a shorter one."""


def replaced(content: bytes, placeholder: str, prefix: str, *, binary: bool) -> bytes:
    """Return a file's content for a prefix, an absolute path.

    Raises ``PrefixTooLong`` if it is longer than a binary has room for.
    """
    old, new = placeholder.encode(), prefix.encode()
    if not old:
        return content
    return _binary(content, old, new) if binary else _text(content, old, new)


def _text(content: bytes, old: bytes, new: bytes) -> bytes:
    found = content.replace(old, new)
    return started(found) if found.startswith(b"#!") else found


def started(content: bytes) -> bytes:
    """Return a script whose first line a kernel takes: ``env`` finds the program if need be."""
    line, newline, rest = content.partition(b"\n")
    program, space, words = line.removeprefix(b"#!").strip().partition(b" ")
    if len(line) <= _SHEBANG_BYTES or not program.startswith(b"/"):
        return content
    name = program.rpartition(b"/")[2]
    return b"#!/usr/bin/env " + name + space + words + newline + rest


def _binary(content: bytes, old: bytes, new: bytes) -> bytes:
    if len(new) > len(old):
        raise PrefixTooLong(
            f"{new.decode()} is longer than the {len(old)} characters that the package allows"
        )
    strings = re.compile(re.escape(old) + rb"[^\0]*\0")

    def same_length(match: re.Match[bytes]) -> bytes:
        text = match[0][:-1].replace(old, new)
        return text + bytes(len(match[0]) - len(text))

    return strings.sub(same_length, content)
