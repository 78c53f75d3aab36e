"""Which projects of Maven's are in a jar: it has a ``pom.properties`` of each. Core: no I/O."""

import io
import re
import zipfile
import zlib
from typing import Final

_PROPERTIES: Final = re.compile(r"META-INF/maven/[^/]+/[^/]+/pom\.properties")
_LINE: Final = re.compile(r"^(groupId|artifactId|version)[ \t]*[=:][ \t]*(\S+)[ \t]*\r?$", re.M)
# Such a file has three lines.
_BYTES: Final = 1 << 16


def projects_in(jar: bytes) -> tuple[tuple[str, str], ...]:
    """Return (``group:artifact``, version) of each project in a jar, sorted.

    There is one for a jar that Maven has made, several for one that others were merged into, and
    none for those of other tools.
    """
    found = set()
    try:
        with zipfile.ZipFile(io.BytesIO(jar)) as archive:
            for info in archive.infolist():
                if not _PROPERTIES.fullmatch(info.filename) or info.file_size > _BYTES:
                    continue
                said = dict(_LINE.findall(archive.read(info).decode("latin-1")))
                if len(said) == 3:
                    found.add((f"{said['groupId']}:{said['artifactId']}", said["version"]))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError):
        return ()
    return tuple(sorted(found))
