"""Source distributions with patches applied: always into the same bytes. Core: no I/O."""

import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Mapping
from typing import Final

from mlruntime.ecosystems.native.patching import DoesNotApply, apply_patch, parse_patch
from mlruntime.layers.sink import MTIME

# What tarfile lets through about an archive that is damaged or none at all.
_UNREADABLE: Final = (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)


def patched(sdist: bytes, patches: Mapping[str, bytes], say: Callable[[str], None]) -> bytes:
    """Return an sdist (a tar, however compressed) with patches applied in order, as a plain tar.

    ``say`` hears of every patch that applied. Raises ``DoesNotApply`` naming the patch, and
    ``DamagedSdist`` for what is no tar archive, or only the beginning of one.
    """
    members, content = _unpacked(sdist)
    top = members[0].name.split("/")[0]
    for name, patch in patches.items():
        try:
            parsed = parse_patch(patch.decode())
            paths = {f"{top}/{file.path}" for file in parsed.files} & content.keys()
            texts = {path.removeprefix(f"{top}/"): content[path].decode() for path in paths}
            changed = apply_patch(parsed, texts)
        except (DoesNotApply, UnicodeDecodeError) as error:
            raise DoesNotApply(f"{name} does not apply: {error}") from None
        content |= {f"{top}/{path}": text.encode() for path, text in changed.items()}
        say(f"{name}: {len(changed)} files")
    return _packed(members, content)


class DamagedSdist(ValueError):
    """A source archive is damaged; the message says how."""


def _unpacked(sdist: bytes) -> tuple[list[tarfile.TarInfo], dict[str, bytes]]:
    """Return the members of a tar archive, of which there is at least one, and their content."""
    try:
        with tarfile.open(fileobj=io.BytesIO(sdist)) as source:
            members = source.getmembers()
            files = ((m.name, source.extractfile(m)) for m in members if m.isfile())
            content = {name: file.read() for name, file in files if file is not None}
    except _UNREADABLE as error:
        raise DamagedSdist(str(error) or type(error).__name__) from None
    if not members:
        raise DamagedSdist("there is nothing in it")
    return members, content


def _packed(members: list[tarfile.TarInfo], content: Mapping[str, bytes]) -> bytes:
    there = {member.name for member in members}
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in (*members, *map(tarfile.TarInfo, sorted(content.keys() - there))):
            # `make` must not find a patched file newer than the files generated from it.
            member.mtime = MTIME
            member.size = len(content.get(member.name, b""))
            archive.addfile(member, io.BytesIO(content.get(member.name, b"")))
    return target.getvalue()
