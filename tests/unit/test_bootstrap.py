"""Debian packages as the builder reads them: toy packages, no engine."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from builder import bootstrap
from builder.errors import InvalidLock
from builder.layering import debian
from builder.layering.tarball import MTIME, LayerWriter
from builder.lock import Artifact
from builder.store import Store


def tarred(entries: Mapping[str, bytes | tuple[bytes, str]]) -> bytes:
    """Return a tar archive: a name with bytes is a file, with (type, target) a link."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, tuple):
                info.type, info.linkname = content
                tar.addfile(info)
            elif name.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


def deb(
    folder: Path,
    name: str,
    files: Mapping[str, bytes | tuple[bytes, str]] | None = None,
    **fields: str,
) -> tuple[Artifact, Path]:
    """Write a Debian package, an ar archive of two tar archives."""
    values = {"Package": name, "Version": "1", "Architecture": "all"}
    values |= {key.replace("_", "-"): value for key, value in fields.items()}
    control = "".join(f"{key}: {value}\n" for key, value in values.items()).encode()
    content = b"!<arch>\n"
    for member, data in (
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", gzip.compress(tarred({"./control": control}))),
        ("data.tar.gz", gzip.compress(tarred(files or {}))),
    ):
        content += f"{member:16}{0:<12}{0:<6}{0:<6}{'100644':8}{len(data):<10}`\n".encode()
        content += data + b"\n" * (len(data) % 2)
    path = folder / f"{name}_1_all.deb"
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


def layer(*packages: Path) -> dict[str, tarfile.TarInfo]:
    target = io.BytesIO()
    writer = LayerWriter(target)
    debian.unpack(writer, packages)
    writer.finish()
    return members(target.getvalue())


def members(packed: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        return {info.name: info for info in tar}


def test_packages_are_unpacked_into_a_merged_usr(tmp_path: Path) -> None:
    _, one = deb(
        tmp_path,
        "one",
        {
            "./": b"",
            "./bin/": b"",
            "./bin/tool": b"x",
            "./bin/same": (tarfile.LNKTYPE, "./bin/tool"),
            "./usr/share/man/man1/tool.1": b"left out",
            "./usr/share/doc/one/copyright": b"kept",
            "./usr/share/doc/one/README": b"left out",
            "./etc/": b"",
        },
    )
    _, two = deb(tmp_path, "two", {"./etc/": b"", "./etc/two": b"2", "./usr/bin/tool": b"y"})
    found = layer(one, two)
    assert set(found) == {
        "bin", "lib", "lib64", "sbin", "usr/bin/tool", "usr/bin/same",
        "usr/share/doc/one/copyright", "etc", "etc/two",
    }  # fmt: skip
    assert found["bin"].linkname == "usr/bin"
    assert found["usr/bin/same"].linkname == "usr/bin/tool"
    assert found["usr/bin/tool"].size == 1


def test_the_same_packages_give_the_same_layer(tmp_path: Path) -> None:
    blobs = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        _, path = deb(folder, "one", {"./etc/one": b"1"})
        writer = LayerWriter(io.BytesIO())
        debian.unpack(writer, [path])
        blobs.append(writer.finish())
    assert blobs[0] == blobs[1]


@pytest.fixture
def packages(tmp_path: Path) -> dict[str, tuple[Artifact, Path]]:
    """A small system: what is essential, an interpreter, and what is neither."""
    made = (
        deb(tmp_path, "base", Essential="yes", Depends="shell | other-shell (>= 2)"),
        deb(tmp_path, "dash", Provides="shell", Pre_Depends="libc (>= 1)"),
        deb(tmp_path, "libc"),
        deb(tmp_path, "python3.11", Depends="libc, libpython"),
        deb(tmp_path, "libpython"),
        deb(tmp_path, "java", Depends="base, nowhere"),
    )
    return {artifact.name: (artifact, path) for artifact, path in made}


def test_the_seed_is_what_is_essential_and_python(
    packages: dict[str, tuple[Artifact, Path]], tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    artifacts = tuple(artifact for artifact, _ in packages.values())
    asked = []

    def files() -> Mapping[str, Path]:
        asked.append("files")
        return {artifact.sha256: path for artifact, path in packages.values()}

    seeds = [bootstrap.seed(store, artifacts, files, "3.11") for _ in range(2)]
    names = [[a.name for a in one.packages] for one in (seeds[0].python, seeds[0].essential)]
    assert names == [["libc", "python3.11", "libpython"], ["base", "dash"]]
    assert seeds[0] == seeds[1]
    assert asked == ["files"]  # what packages depend on is read once
    assert seeds[0].python.key != seeds[0].essential.key


def test_a_package_under_another_name_is_refused(tmp_path: Path) -> None:
    artifact, _ = deb(tmp_path, "one")
    _, other = deb(tmp_path, "two")
    with pytest.raises(InvalidLock, match=r"one_1_all.deb is two 1, locked as one 1"):
        debian.control(artifact, other)


def test_nothing_of_the_engine_stays_in_the_system(tmp_path: Path) -> None:
    archive = tmp_path / "os.tar"
    archive.write_bytes(
        tarred(
            {
                "./": b"",
                "./.dockerenv": b"",
                "./dev/": b"",
                "./dev/null": b"",
                "./etc/hosts": b"127.0.0.1",
                "./etc/passwd": b"root",
                "./proc/": b"",
                "./tmp/": b"",
                "./tmp/hsperfdata_root": b"",
                "./var/log/dpkg.log": b"today",
            }
        )
    )
    target = io.BytesIO()
    writer = LayerWriter(target)
    debian.copy_system(archive, writer)
    writer.finish()
    found = members(target.getvalue())
    assert set(found) == {"dev", "etc/passwd", "proc", "tmp"}
    assert {info.mtime for info in found.values()} == {MTIME}
    assert found["proc"].mode == 0o755
