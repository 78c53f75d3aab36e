"""Debian packages made for a test."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from mlruntime.lock.packages import Artifact

# Bytes are a file; (type, target) is a link, or a directory with an octal mode.
Content = bytes | tuple[bytes, str]


def tarred(entries: Mapping[str, Content], executable: tuple[str, ...] = ()) -> bytes:
    """Return a tar archive; names that end with a slash are directories."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                info.type, info.linkname = content
                if info.isdir():
                    info.mode, info.linkname = int(info.linkname, 8), ""
                tar.addfile(info)
            elif name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            else:
                info.size = len(content)
                info.mode = 0o755 if name in executable else 0o644
                tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


def deb(
    folder: Path,
    name: str,
    files: Mapping[str, Content] | None = None,
    control: Mapping[str, bytes] | None = None,
    *,
    data: bytes | None = None,
    **fields: str,
) -> tuple[Artifact, Path]:
    """Write a package, an ar archive of two tar archives; ``control`` are further control files.

    ``data`` is the second of them, instead of one with ``files``.
    """
    values = {"Package": name, "Version": "1", "Architecture": "amd64"}
    values |= {"Maintainer": "Nobody <nobody@example.org>", "Description": f"the {name}"}
    values |= {key.replace("_", "-"): value for key, value in fields.items()}
    members: dict[str, Content] = {
        "./control": "".join(f"{key}: {value}\n" for key, value in values.items()).encode()
    }
    members |= {f"./{key}": content for key, content in (control or {}).items()}
    scripts = tuple(f"./{key}" for key in ("preinst", "postinst", "prerm", "postrm"))
    content = b"!<arch>\n"
    for member, packed in (
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", gzip.compress(tarred(members, scripts), mtime=0)),
        ("data.tar.gz", gzip.compress(tarred(files or {}) if data is None else data, mtime=0)),
    ):
        content += f"{member:16}{0:<12}{0:<6}{0:<6}{'100644':8}{len(packed):<10}`\n".encode()
        content += packed + b"\n" * (len(packed) % 2)
    path = folder / f"{name}_1_amd64.deb"
    path.write_bytes(content)
    artifact = Artifact(
        kind="deb",
        name=name,
        version="1",
        filename=path.name,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        origin=f"debian:bookworm:pool/{path.name}",
    )
    return artifact, path
