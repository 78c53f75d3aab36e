"""What two images differ in, file by file: for when the same plan gave other bytes."""

import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlruntime.errors import Damaged
from mlruntime.image.image import Blobs, Image, blob_file
from mlruntime.layers.gzipped import inflated

_FACTS = ("type", "mode", "owner", "group", "time", "size", "link", "content")


class _Plain:
    """What is in a gzip file of several members, as a file that is read once."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._held = b""

    def read(self, size: int) -> bytes:
        while len(self._held) < size and (block := next(self._blocks, b"")):
            self._held += block
        found, self._held = self._held[:size], self._held[size:]
        return found


def different_files(a: Image, in_a: Blobs, b: Image, in_b: Blobs) -> tuple[str, ...]:
    """Return a line for each file that differs: layer, path, and in what it does."""
    found: list[str] = []
    ours = {layer.name: layer.blob.digest for layer in a.layers}
    theirs = {layer.name: layer.blob.digest for layer in b.layers}
    for name in dict.fromkeys((*ours, *theirs)):
        if name not in ours or name not in theirs:
            found.append(f"layer {name}: only in one of them")
        elif ours[name] != theirs[name]:
            before = _members(blob_file(in_a, ours[name]))
            after = _members(blob_file(in_b, theirs[name]))
            lines = list(_compared(before, after))
            found += [f"{name}: {line}" for line in lines or ["the same files, packed otherwise"]]
    if not found and a.config != b.config:
        found.append("the image's configuration")
    return tuple(found)


def _members(path: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    with path.open("rb") as packed:
        try:
            with tarfile.open(fileobj=_Plain(inflated(packed)), mode="r|") as archive:  # type: ignore[call-overload]
                for member in archive:
                    file = archive.extractfile(member) if member.isreg() else None
                    content = hashlib.sha256(file.read()).hexdigest() if file else ""
                    found[member.name] = (
                        member.type, oct(member.mode), member.uid, member.gid, member.mtime,
                        member.size, member.linkname, content,
                    )  # fmt: skip
        except (tarfile.TarError, EOFError, OSError) as problem:
            raise Damaged("a layer cannot be read", where=str(path), why=str(problem)) from None
    return found


def _compared(
    before: Mapping[str, tuple[object, ...]], after: Mapping[str, tuple[object, ...]]
) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            yield f"{name} is in one of them only"
        elif before[name] != after[name]:
            pairs = zip(_FACTS, before[name], after[name], strict=True)
            yield f"{name}: " + ", ".join(
                fact if fact == "content" else f"{fact} {x} and {y}"
                for fact, x, y in pairs
                if x != y
            )
