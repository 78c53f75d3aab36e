"""Which paths a package may bring: one rule for every source, checked by every sink."""

from typing import Final

# A file of such a name removes another one when its layer is applied (OCI image layout, whiteouts).
WHITEOUT: Final = ".wh."
# A path with one of these cannot be in a list with one path a line, as dpkg and RECORD have it.
_FORBIDDEN: Final = ("\0", "\n", "\r")


class UnsafePath(ValueError):
    """A path that would leave the place it is put into, or do something else than be there."""


def checked(path: str) -> str:
    """Return a path in its plain form: relative, without ``.`` and doubled or trailing slashes.

    Raises ``UnsafePath`` for an absolute path, one with ``..``, a whiteout, and one that no list
    of paths can hold. The root itself is ``""``.
    """
    if path.startswith("/"):
        raise UnsafePath(f"{path}: not a path inside an image (it is absolute)")
    if any(character in path for character in _FORBIDDEN):
        raise UnsafePath(f"{path!r}: not a path inside an image (it has control characters)")
    # Most paths by far are plain already.
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for part in parts:
        if part == "..":
            raise UnsafePath(f"{path}: not a path inside an image (it has '..')")
        if part.startswith(WHITEOUT):
            raise UnsafePath(f"{path}: not a path inside an image ('{WHITEOUT}' marks removals)")
    return "/".join(parts)
