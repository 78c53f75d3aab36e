"""What Debian's maintainer scripts would make, and an environment needs: without running one."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from mlruntime.ecosystems.debian.keystore import trust_store
from mlruntime.ecosystems.debian.packages import CACERTS
from mlruntime.ecosystems.place import LIBRARIES
from mlruntime.environment.trees import Tree
from mlruntime.image.sources.literal import File

_CERTIFICATES: Final = "usr/share/ca-certificates/"
_PEM: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\s*(.*?)\s*-----END CERTIFICATE-----", re.DOTALL
)


def java_trust(trees: Iterable[Tree]) -> Iterator[File]:
    """Yield Java's trust store, of the certificates in ``ca-certificates``.

    ``ca-certificates-java`` makes it when it is configured. There is none without certificates.
    """
    found: dict[str, bytes] = {}
    for tree in trees:
        for entry in tree.entries:
            if entry.path.startswith(_CERTIFICATES) and not entry.target:
                text = (tree.root / entry.path).read_text(encoding="ascii", errors="replace")
                for number, match in enumerate(_PEM.finditer(text)):
                    alias = f"debian:{PurePosixPath(entry.path).stem.lower()}"
                    try:
                        content = base64.b64decode(match[1])
                    except binascii.Error:
                        continue
                    found[f"{alias}-{number}" if number else alias] = content
    if found:
        yield File(path=CACERTS, content=trust_store(found))


def library_folders(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the folders with shared libraries that a dynamic linker must be told of.

    They are Debian's, and those of alternatives below it, such as OpenBLAS's: these come first.
    """
    found = {
        str(PurePosixPath(path).parent)
        for path in paths
        if path.startswith(f"{LIBRARIES}/") and ".so" in PurePosixPath(path).name
    }
    return tuple(sorted(found, key=lambda folder: (-folder.count("/"), folder)))
