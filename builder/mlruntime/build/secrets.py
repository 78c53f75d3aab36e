"""Secrets that a Debian package makes while it is configured: every image would share them."""

import re
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from mlruntime.ecosystems.debian.dpkg import ControlArchive
from mlruntime.ecosystems.debian.packages import is_kept
from mlruntime.errors import InvalidDefinition

# With the beginning of its body: programs that read keys, as ssh-agent does, have the first line.
_PRIVATE_KEY: Final = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----\r?\n(?:[\w-]+: [^\n]*\n|\s)*[A-Za-z0-9+/]{16}"
)
_KEY_NAMES: Final = ("*.key", "*_key")
_OTHERS_MAY_READ: Final = 0o044
_LARGEST: Final = 1 << 20
_SCRIPTS: Final = ("preinst", "postinst", "config")


def refuse_secrets(changes: Path, packages: Iterable[ControlArchive]) -> None:
    """Raise ``InvalidDefinition`` if configuring has written secrets, with the packages' names.

    ``changes`` is a tar archive of what has changed. A secret is a private key, or whatever only
    its owner may read and no package has brought.
    """
    packages = tuple(packages)
    brought = {path.lstrip("/") for package in packages for path in package.conffiles}
    with tarfile.open(changes) as tar:
        found = tuple(
            info.name
            for info in tar
            if is_kept(info.name) and info.name not in brought and _is_secret(tar, info)
        )
    if not found:
        return
    makers = sorted({maker for path in found for maker in _makers(path, packages)})
    named = " and ".join(makers) if makers else "a Debian package"
    raise InvalidDefinition(
        f"{named}: configuring it makes secrets: {', '.join(f'/{path}' for path in sorted(found))}",
        where="runtime.yaml: debian",
        why="all containers of the image would have the same ones, and two builds two digests",
        hint="leave it out here, and install it in an image on top, where they are made at start",
    )


def _is_secret(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bool:
    if not info.isreg() or not 0 < info.size <= _LARGEST:
        return False
    if not info.mode & _OTHERS_MAY_READ:
        return True
    if any(PurePosixPath(info.name).match(pattern) for pattern in _KEY_NAMES):
        return True
    content = tar.extractfile(info)
    return content is not None and bool(_PRIVATE_KEY.search(content.read()))


def _makers(path: str, packages: tuple[ControlArchive, ...]) -> tuple[str, ...]:
    """Return the packages whose scripts name the file, or else its directory."""
    for name in (PurePosixPath(path).name, f"/{PurePosixPath(path).parent}"):
        scripts = ((package, script) for package in packages for script in _SCRIPTS)
        found = {p.name for p, script in scripts if any(name in line for line in p.lines(script))}
        if found:
            return tuple(found)
    return ()
