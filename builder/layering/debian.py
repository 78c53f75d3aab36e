"""The OS layer: a Debian root file system bootstrapped from exactly the locked packages."""

import hashlib
import io
import os
import struct
import tarfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final, cast

from debian.deb822 import Packages
from debian.debfile import DebFile

from builder import command
from builder.errors import InvalidLock, MlruntimeError
from builder.layering.keystore import normalised
from builder.layering.tarball import MTIME, USER_ID, LayerWriter
from builder.lock import Artifact
from builder.store import link_or_copy

CACERTS: Final = "etc/ssl/certs/java/cacerts"
# Written while packages are configured, of no use afterwards, and different each time.
_LEFT_OUT: Final = ("dev/", "var/log/", "var/cache/ldconfig/", "var/cache/debconf/", "run/")
# apt gives these to its own user, unless that user cannot reach the folder we bootstrap in.
_OWNERLESS: Final = ("var/cache/apt/archives/partial", "var/lib/apt/lists/partial")
_DPKG_OPTIONS: Final = (
    # Nobody keeps what a crash interrupts here: no need to sync each file. Debian's own container
    # images are set so, too.
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
)
_USER: Final = f"ml:x:{USER_ID}:{USER_ID}:ML runtime:/home/ml:/bin/bash"
_HOOKS: Final = (
    # OpenJDK's maintainer script makes links here, and fails when man pages are excluded.
    ("--setup-hook", 'mkdir -p "$1/usr/share/man/man1"'),
    # A merged /usr from the first package on: `usr-is-merged` refuses anything else.
    (
        "--setup-hook",
        'for d in bin sbin lib lib64; do mkdir -p "$1/usr/$d"; ln -s "usr/$d" "$1/$d"; done',
    ),
    ("--customize-hook", f'echo "{_USER}" >> "$1/etc/passwd"'),
    ("--customize-hook", f'echo "ml:x:{USER_ID}:" >> "$1/etc/group"'),
    ("--customize-hook", f'echo "ml:*:{MTIME // 86400}:0:99999:7:::" >> "$1/etc/shadow"'),
    ("--customize-hook", 'rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/apt/sources.list"'),
)
# Part of the layer's key: changes when the recipe above does.
RECIPE: Final = hashlib.sha256(
    repr((_LEFT_OUT, _OWNERLESS, _DPKG_OPTIONS, _HOOKS)).encode()
).hexdigest()


def write_repository(directory: Path, packages: Iterable[tuple[Artifact, Path]]) -> None:
    """Lay the packages out as a flat APT repository with an index, nothing else in it."""
    paragraphs = []
    for artifact, path in packages:
        target = directory / artifact.filename
        link_or_copy(path, target)
        with target.open("rb") as handle:
            paragraph = Packages(DebFile(fileobj=handle).debcontrol())
        if (paragraph["Package"], paragraph["Version"]) != (artifact.name, artifact.version):
            raise InvalidLock(
                f"{artifact.filename} is {paragraph['Package']} {paragraph['Version']},"
                f" locked as {artifact.name} {artifact.version}"
            )
        paragraph["Filename"] = f"./{artifact.filename}"
        paragraph["Size"] = str(artifact.size)
        paragraph["SHA256"] = artifact.sha256
        paragraphs.append(str(paragraph))
    (directory / "Packages").write_text("\n".join(paragraphs), encoding="utf-8")


def bootstrap(
    repository: Path,
    names: Iterable[str],
    scratch: Path,
    writer: LayerWriter,
    stop: threading.Event | None = None,
) -> None:
    """Bootstrap a root file system from the repository and add it to a layer.

    ``names`` are all packages that must end up installed. Needs mmdebstrap on the host; runs the
    packages' maintainer scripts, in a chroot; ends early, with an error, when ``stop`` is set.
    """
    tool = command.require("mmdebstrap", hint="apt-get install mmdebstrap")
    archive = scratch / "os.tar"
    options = [word for hook in _HOOKS for word in hook]
    options += [f"--dpkgopt={option}" for option in _DPKG_OPTIONS]
    # mmdebstrap unpacks where TMPDIR says; umask and locale would show up in the result.
    environment = {
        "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(MTIME),
        "TMPDIR": str(scratch),
    }
    scratch.chmod(0o755)
    command.run(
        [
            tool, "--quiet", "--variant=apt", "--architectures=amd64", *options,
            f"--include={','.join(sorted(names))}", "--skip=check/empty",
            "", archive, f"deb [trusted=yes] copy:{repository} ./",
        ],
        env=environment,
        stop=stop,
    )  # fmt: skip
    with tarfile.open(archive) as tar:
        _copy(tar, writer)


def _copy(tar: tarfile.TarFile, writer: LayerWriter) -> None:
    for info in tar:
        name = info.name.removeprefix("./")
        if any(name.startswith(prefix) for prefix in _LEFT_OUT):
            continue
        if name in _OWNERLESS:
            info.uid = info.gid = 0
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
