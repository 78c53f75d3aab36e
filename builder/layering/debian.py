"""Debian packages as files: an APT repository of them, what is in them, what they depend on.

Also the finished system, as ``bootstrap`` leaves it, put into a layer.
"""

import hashlib
import io
import struct
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Final, cast

from debian.deb822 import Deb822, Packages, PkgRelation
from debian.debfile import DebFile

from builder.errors import InvalidLock, MlruntimeError
from builder.layering.keystore import normalised
from builder.layering.tarball import LayerWriter
from builder.lock import Artifact
from builder.store import link_or_copy

CACERTS: Final = "etc/ssl/certs/java/cacerts"
# What dpkg leaves out, and unpacking, too. OpenJDK needs its man pages' directory all the same.
EXCLUDED: Final = ("usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/doc/")
_COPYRIGHT: Final = "copyright"
# Debian's /usr is merged: these are links into it.
_MERGED: Final = ("bin", "lib", "lib64", "sbin")
# Written while packages are configured, or put there by the engine; of no use in an image.
_LEFT_OUT: Final = ("dev/", "run/", "tmp/", "var/cache/debconf/", "var/cache/ldconfig/", "var/log/")
_ENGINES: Final = frozenset(
    (".dockerenv", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf")
)
# An engine mounts these; how it does that must not show.
_MOUNTED: Final = frozenset(("dev", "proc", "run", "sys"))
# Enters the keys of layers: changes when what is left out does.
RECIPE: Final = hashlib.sha256(
    repr((EXCLUDED, _COPYRIGHT, _MERGED, _LEFT_OUT, sorted(_ENGINES), sorted(_MOUNTED))).encode()
).hexdigest()


def write_repository(directory: Path, packages: Iterable[tuple[Artifact, Path]]) -> None:
    """Lay the packages out as a flat APT repository with an index, nothing else in it."""
    paragraphs = []
    for artifact, path in packages:
        paragraph = Packages(control(artifact, path))
        link_or_copy(path, directory / artifact.filename)
        paragraph["Filename"] = f"./{artifact.filename}"
        paragraph["Size"] = str(artifact.size)
        paragraph["SHA256"] = artifact.sha256
        paragraphs.append(str(paragraph))
    (directory / "Packages").write_text("\n".join(paragraphs), encoding="utf-8")


def control(artifact: Artifact, path: Path) -> Deb822:
    """Return a package's control paragraph; ``InvalidLock`` if it is another package."""
    with path.open("rb") as handle:
        found = DebFile(fileobj=handle).debcontrol()
    if (found["Package"], found["Version"]) != (artifact.name, artifact.version):
        raise InvalidLock(
            f"{artifact.filename} is {found['Package']} {found['Version']},"
            f" locked as {artifact.name} {artifact.version}"
        )
    return cast("Deb822", found)


def essential(controls: Mapping[str, Deb822]) -> frozenset[str]:
    """Return the packages that every Debian system has: what maintainer scripts may rely on."""
    return closure(
        controls, (name for name, found in controls.items() if found.get("Essential") == "yes")
    )


def closure(controls: Mapping[str, Deb822], names: Iterable[str]) -> frozenset[str]:
    """Return the named packages and all that they depend on, as far as ``controls`` has them."""
    providers: dict[str, list[str]] = {}
    for name in sorted(controls):
        providers.setdefault(name, []).insert(0, name)
        for other in _mentioned(controls[name], "Provides"):
            providers.setdefault(other, []).append(name)
    found: set[str] = set()
    left = sorted(names)
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            wanted = (*_mentioned(controls[name], "Pre-Depends"),
                      *_mentioned(controls[name], "Depends"))  # fmt: skip
            left += [providers[other][0] for other in wanted if other in providers]
    return frozenset(found)


def _mentioned(paragraph: Deb822, field: str) -> tuple[str, ...]:
    """Return the names in a relation field; of alternatives, all."""
    text = paragraph.get(field)
    if not text:
        return ()
    return tuple(str(one["name"]) for group in PkgRelation.parse_relations(text) for one in group)


def unpack(writer: LayerWriter, packages: Iterable[Path]) -> None:
    """Add the files of packages to a layer, as they are: nothing is run or configured."""
    seen: set[str] = set()
    for link in _MERGED:
        writer.symlink(link, f"usr/{link}")
    for path in packages:
        with path.open("rb") as handle, DebFile(fileobj=handle).data.tgz() as archive:
            for info in archive:
                name = _in_usr(info.name.removeprefix("./").rstrip("/"))
                if name in ("", ".", *_MERGED) or name in seen or _excluded(name):
                    continue
                seen.add(name)
                info.name = name
                if info.islnk():
                    info.linkname = _in_usr(info.linkname.removeprefix("./"))
                content = archive.extractfile(info) if info.isreg() else None
                writer.member(info, cast("BinaryIO | None", content))


def _in_usr(name: str) -> str:
    top, slash, _ = name.partition("/")
    return f"usr/{name}" if slash and top in _MERGED else name


def _excluded(name: str) -> bool:
    return name.startswith(EXCLUDED) and name.rpartition("/")[2] != _COPYRIGHT


def copy_system(archive: Path, writer: LayerWriter) -> None:
    """Add a finished system, a tar archive of its root, to a layer.

    Raises ``MlruntimeError`` when Java's trust store is not what can be normalised.
    """
    with tarfile.open(archive) as tar:
        for info in tar:
            info.name = name = info.name.removeprefix("./")
            if name.startswith(_LEFT_OUT) or name in _ENGINES:
                continue
            if name in _MOUNTED:
                info.mode = 0o755
            content = tar.extractfile(info) if info.isreg() else None
            if name == CACERTS and content is not None:
                store = _keystore(content.read())
                info.size, content = len(store), cast("tarfile.ExFileObject", io.BytesIO(store))
            writer.member(info, cast("BinaryIO | None", content))


def _keystore(data: bytes) -> bytes:
    try:
        return normalised(data)
    except (ValueError, struct.error) as error:
        raise MlruntimeError(
            "Java's trust store cannot be normalised", where=CACERTS, why=str(error)
        ) from None
