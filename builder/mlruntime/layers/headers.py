"""Headers of tar entries: ustar (POSIX.1-1988) where that can hold the entry, pax where not.

The bytes of a ustar header are those of ``tarfile``, in a fifth of its time: an image has 50,000
of them.
"""

import struct
import tarfile
from typing import Final

# Name, mode, uid, gid, size, time, sum, type, link, magic and version; the owners' names and the
# device's numbers stay empty; then what comes before the name and a slash.
_HEADER: Final = struct.Struct("100s 8s 8s 8s 12s 12s 8s c 100s 8s 80x 155s 12x")
_NAME: Final = 100
_PREFIX: Final = 155
# What the digits of a field can hold; one of its bytes ends it.
_ID: Final = 8**7
_SIZE: Final = 8**11
_NO_SUM: Final = b" " * 8
_SUM_AT: Final = 148
# Entries with numbers of a device are left to ``tarfile``.
_DEVICES: Final = (tarfile.CHRTYPE, tarfile.BLKTYPE)


def header(info: tarfile.TarInfo) -> bytes:
    """Return an entry's header; its time must be a whole number of seconds."""
    name = f"{info.name}/" if info.type == tarfile.DIRTYPE else info.name
    split = _split(name)
    if split is None or not _is_plain(info):
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    packed = _HEADER.pack(
        name[split:].encode("ascii"),
        b"%07o" % (info.mode & 0o7777),
        b"%07o" % info.uid,
        b"%07o" % info.gid,
        b"%011o" % info.size,
        b"%011o" % int(info.mtime),
        _NO_SUM,
        info.type,
        info.linkname.encode("ascii"),
        tarfile.POSIX_MAGIC,
        name[: max(split - 1, 0)].encode("ascii"),
    )
    return b"%b%06o\0 %b" % (packed[:_SUM_AT], sum(packed), packed[_SUM_AT + 8 :])


def _split(name: str) -> int | None:
    """Return where to split a path into ustar's prefix and name.

    0: it fits into the name alone; ``None``: it does not fit at all.
    """
    if not name.isascii():
        return None
    if len(name) <= _NAME:
        return 0
    slash = name.find("/", max(len(name) - _NAME - 1, 1))
    return slash + 1 if 0 < slash <= _PREFIX and slash + 1 < len(name) else None


def _is_plain(info: tarfile.TarInfo) -> bool:
    return (
        len(info.linkname) <= _NAME
        and info.linkname.isascii()
        and 0 <= info.uid < _ID
        and 0 <= info.gid < _ID
        and 0 <= info.size < _SIZE
        and 0 <= info.mtime < _SIZE
        and info.type not in _DEVICES
        and not (info.uname or info.gname or info.pax_headers)
    )
