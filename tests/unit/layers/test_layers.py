"""Layers: the same entries give the same bytes, and those bytes are a proper tar."""

import gzip
import hashlib
import io
import os
import struct
import tarfile
import time
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.ecosystems.debian.keystore import normalised
from mlruntime.ecosystems.place import image_place
from mlruntime.ecosystems.pypi.site import Site
from mlruntime.ecosystems.pypi.wheel import install_wheel
from mlruntime.ecosystems.pypi.zipped import Member
from mlruntime.errors import InvalidLock
from mlruntime.layers.gzipped import BLOCK, LayerBlob
from mlruntime.layers.writer import MTIME, LayerWriter

segment = st.text("abcdefgäß0123456789_-", min_size=1, max_size=60)
paths = st.lists(segment, min_size=1, max_size=6).map("/".join)


def written(entries: dict[str, bytes]) -> tuple[LayerBlob, bytes]:
    target = io.BytesIO()
    writer = LayerWriter(target)
    for path, content in entries.items():
        writer.data(path, content)
    return writer.finish(), target.getvalue()


def members(packed: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        return {info.name: info for info in tar}


@given(st.dictionaries(paths, st.binary(max_size=3000), max_size=8))
def test_what_goes_in_comes_out(entries: dict[str, bytes]) -> None:
    files = {
        path: content
        for path, content in entries.items()
        if not any(other.startswith(path + "/") for other in entries)
    }
    blob, packed = written(files)
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        found = {i.name: tar.extractfile(i).read() for i in tar if i.isreg()}  # type: ignore[union-attr]
    assert found == files
    plain = gzip.decompress(packed)
    assert blob.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    assert blob.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert (blob.size, blob.unpacked) == (len(packed), len(plain))


def test_neither_clock_nor_umask_nor_folder_reaches_the_bytes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entries = {"opt/ml/a.py": b"a", "etc/b": b"b" * 3 * BLOCK}
    first = written(entries)
    before = os.umask(0o077)
    try:
        monkeypatch.setattr(time, "time", lambda: 2e9)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("TZ", "Asia/Kathmandu")
        assert written(entries) == first
    finally:
        os.umask(before)


def test_how_content_is_cut_does_not_reach_the_bytes() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 1, 1000))

    content = os.urandom(BLOCK + 17)
    blobs = []
    for stream in (io.BytesIO(content), Slow(content)):
        writer = LayerWriter(io.BytesIO())
        writer.file("x", stream, len(content))
        blobs.append(writer.finish())
    assert blobs[0] == blobs[1]


def test_owners_modes_and_times_follow_one_rule() -> None:
    target = io.BytesIO()
    writer = LayerWriter(target)
    writer.data("opt/ml/bin/x", b"#!", executable=True)
    writer.symlink("opt/spark", "/opt/ml")
    writer.directory("home/ml")
    writer.shared_directory("opt/ml/work")
    writer.finish()
    found = members(target.getvalue())
    assert all(info.mtime == MTIME for info in found.values())
    assert {n: (i.uid, i.gid) for n, i in found.items()} == {
        "opt": (0, 0),
        "opt/ml": (1000, 1000),
        "opt/ml/bin": (1000, 1000),
        "opt/ml/bin/x": (1000, 1000),
        "opt/spark": (0, 0),
        "home": (0, 0),
        "home/ml": (1000, 1000),
        "opt/ml/work": (1000, 0),
    }
    assert found["opt/ml/bin/x"].mode == 0o755
    assert found["opt/ml/work"].mode == 0o775


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../b"])
def test_nothing_leaves_the_image(path: str) -> None:
    with pytest.raises(ValueError, match="not a path inside an image"):
        LayerWriter(io.BytesIO()).data(path, b"")


def test_one_path_twice_is_refused() -> None:
    writer = LayerWriter(io.BytesIO())
    writer.data("a", b"1")
    with pytest.raises(FileExistsError):
        writer.data("a", b"2")


def test_a_file_shorter_than_announced_is_refused() -> None:
    with pytest.raises(ValueError, match="3 bytes less"):
        LayerWriter(io.BytesIO()).file("a", io.BytesIO(b"1234567"), 10)


# wheels

METADATA = "Metadata-Version: 2.1\nName: toy\nVersion: 1\n"


def toy_wheel(folder: Path, files: dict[str, bytes], *, record: bool = True) -> tuple[Path, Path]:
    wheel, bytecode = folder / "toy-1-py3-none-any.whl", folder / "toy.zip"
    texts = {
        "toy-1.dist-info/METADATA": METADATA.encode(),
        "toy-1.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "toy-1.dist-info/entry_points.txt": b"[console_scripts]\ntoy = toy:main\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in (files | texts).items():
            archive.writestr(name, content)
        if record:
            lines = "".join(f"{name},,\n" for name in (*files, *texts))
            archive.writestr("toy-1.dist-info/RECORD", lines)
    with zipfile.ZipFile(bytecode, "w") as archive:
        archive.writestr("opt/ml/lib/python3.11/site-packages/toy/__init__.py", b"PYC")
    return wheel, bytecode


def test_a_wheel_is_laid_out_as_an_installer_would(tmp_path: Path) -> None:
    wheel, bytecode = toy_wheel(
        tmp_path,
        {
            "toy/__init__.py": b"def main(): ...\n",
            "toy/__pycache__/__init__.cpython-311.pyc": b"a stranger's",
            "toy-1.data/scripts/tool": b"#!python\nprint(1)\n",
            "toy-1.data/data/share/toy.txt": b"hello",
        },
    )
    target = io.BytesIO()
    writer = LayerWriter(target)
    install_wheel(writer, wheel, wheel.name, Site(image_place("3.11")), bytecode)
    writer.finish()
    with tarfile.open(fileobj=io.BytesIO(target.getvalue()), mode="r:gz") as tar:
        found = {i.name: tar.extractfile(i).read() for i in tar if i.isreg()}  # type: ignore[union-attr]
        modes = {i.name: i.mode for i in tar.getmembers()}
    site = "opt/ml/lib/python3.11/site-packages"
    assert found["opt/ml/bin/tool"] == b"#!/opt/ml/bin/python\nprint(1)\n"
    assert found["opt/ml/bin/toy"].startswith(b"#!/opt/ml/bin/python\n")
    assert modes["opt/ml/bin/toy"] == modes["opt/ml/bin/tool"] == 0o755
    assert found["opt/ml/share/toy.txt"] == b"hello"
    assert found[f"{site}/toy/__pycache__/__init__.cpython-311.pyc"] == b"PYC"
    record = found[f"{site}/toy-1.dist-info/RECORD"].decode()
    assert "../../../bin/toy,sha256=" in record
    assert "../../../share/toy.txt,sha256=" in record
    assert "toy-1.dist-info/RECORD,,\n" in record


def test_wheels_of_one_layer_share_a_namespace_and_link_their_libraries(tmp_path: Path) -> None:
    """Each of NVIDIA's wheels has the same empty file, and a library that is to be found."""
    target, site = io.BytesIO(), Site(image_place("3.11"))
    writer = LayerWriter(target)
    for part in ("cublas", "cudnn"):
        (tmp_path / part).mkdir()
        wheel, bytecode = toy_wheel(
            tmp_path / part,
            {
                "nvidia/__init__.py": b"",
                f"nvidia/{part}/lib/lib{part}.so.9": b"ELF",
                f"nvidia/{part}/lib/notes.txt": b"",
                f"nvidia/{part}/tools/libother.so": b"ELF",
            },
        )
        with zipfile.ZipFile(wheel) as source:
            names = {name: source.read(name) for name in source.namelist()}
        with zipfile.ZipFile(wheel, "w") as renamed:
            for name, content in names.items():
                text = content.replace(b"toy", part.encode()) if "dist-info" in name else content
                renamed.writestr(name.replace("toy-1", f"{part}-1"), text)
        install_wheel(writer, wheel, f"{part}-1-py3-none-any.whl", site, bytecode)
    writer.finish()
    with tarfile.open(fileobj=io.BytesIO(target.getvalue()), mode="r:gz") as tar:
        names = tar.getnames()
    assert names.count("opt/ml/lib/python3.11/site-packages/nvidia/__init__.py") == 1
    folder = "opt/ml/lib/python3.11/site-packages/nvidia"
    assert site.libraries("nvidia/*/lib") == [
        ("libcublas.so.9", f"{folder}/cublas/lib/libcublas.so.9"),
        ("libcudnn.so.9", f"{folder}/cudnn/lib/libcudnn.so.9"),
    ]
    assert site.libraries("") == []


def test_a_file_of_two_wheels_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    site, writer = Site(image_place("3.11")), LayerWriter(io.BytesIO())
    wheel, bytecode = toy_wheel(tmp_path, {"toy/__init__.py": b"x"})
    install_wheel(writer, wheel, wheel.name, site, bytecode)
    with pytest.raises(InvalidLock, match="cannot be installed"):
        install_wheel(writer, wheel, wheel.name, site, bytecode)


def recorded(folder: Path, sums: str) -> dict[str, str]:
    """Return the hashes in RECORD after a wheel was written whose own RECORD has one."""
    wheel, bytecode = toy_wheel(
        folder, {"toy/__init__.py": b"x", "toy/other.py": b"y"}, record=False
    )
    with zipfile.ZipFile(wheel, "a") as archive:
        lines = "".join(f"{name},,\n" for name in archive.namelist() if name != "toy/other.py")
        archive.writestr("toy-1.dist-info/RECORD", f"{lines}toy/other.py,{sums},1\n")
    target = io.BytesIO()
    writer = LayerWriter(target)
    install_wheel(writer, wheel, wheel.name, Site(image_place("3.11")), bytecode)
    writer.finish()
    with tarfile.open(fileobj=io.BytesIO(target.getvalue()), mode="r:gz") as tar:
        name = next(name for name in tar.getnames() if name.endswith("/RECORD"))
        text = tar.extractfile(name).read().decode()  # type: ignore[union-attr]
    return {path: digest for path, digest, _ in (line.split(",") for line in text.splitlines())}


def test_what_a_wheel_records_of_a_file_is_kept_and_the_rest_is_hashed(tmp_path: Path) -> None:
    found = recorded(tmp_path, "sha256=told")
    assert found["toy/other.py"] == "sha256=told"
    own = urlsafe_b64encode(hashlib.sha256(b"x").digest()).decode().rstrip("=")
    assert found["toy/__init__.py"] == f"sha256={own}"


def test_a_hash_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidLock, match=r"toy-1-py3-none-any\.whl cannot be installed"):
        recorded(tmp_path, "told")


def test_a_broken_wheel_is_named(tmp_path: Path) -> None:
    wheel, bytecode = toy_wheel(tmp_path, {"other-2.dist-info/METADATA": b""})
    with pytest.raises(InvalidLock, match=r"toy-1-py3-none-any\.whl cannot be installed"):
        site = Site(image_place("3.11"))
        install_wheel(LayerWriter(io.BytesIO()), wheel, wheel.name, site, bytecode)


# the trust store


def keystore(aliases: list[str], when: int) -> bytes:
    body = struct.pack(">III", 0xFEEDFEED, 2, len(aliases))
    for alias in aliases:
        body += struct.pack(">IH", 2, len(alias)) + alias.encode() + struct.pack(">Q", when)
        body += struct.pack(">H", 5) + b"X.509" + struct.pack(">I", 4) + alias.encode()[:1] * 4
    seal = hashlib.sha1("changeit".encode("utf-16-be") + b"Mighty Aphrodite" + body)
    return body + seal.digest()


def test_a_trust_store_forgets_when_and_in_what_order_it_was_made() -> None:
    first = normalised(keystore(["alpha", "beta"], 111))
    assert first == normalised(keystore(["beta", "alpha"], 222))
    assert first == keystore(["alpha", "beta"], MTIME * 1000)


@pytest.mark.parametrize("damage", [b"", b"\xfe\xed\xfe\xed" + bytes(8), b"x" * 40])
def test_what_is_no_trust_store_is_refused(damage: bytes) -> None:
    with pytest.raises((ValueError, struct.error)):
        normalised(damage)


def zipped(content: bytes, method: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.writestr("before", b"other")
        archive.writestr("member", content)
    return target.getvalue()


def member(archive: bytes) -> Member:
    handle = io.BytesIO(archive)
    return Member(handle, zipfile.ZipFile(handle).getinfo("member"))


@given(
    st.binary(max_size=5000).map(lambda data: data * 40),
    st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)),
    st.integers(1, 1 << 18),
)
def test_a_member_reads_as_zipfile_reads_it(content: bytes, method: int, size: int) -> None:
    archive = zipped(content, method)
    assert member(archive).read() == content
    one = member(archive)
    assert b"".join(iter(lambda: one.read(size), b"")) == content
    assert one.size == len(content)


@given(st.binary(min_size=50, max_size=5000), st.data())
def test_a_damaged_member_is_never_read_to_its_end(content: bytes, data: st.DataObject) -> None:
    archive = bytearray(zipped(content, zipfile.ZIP_DEFLATED))
    info = zipfile.ZipFile(io.BytesIO(archive)).getinfo("member")
    start = info.header_offset + 30 + len("member")
    where = data.draw(st.integers(start, start + info.compress_size - 1))
    archive[where] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = member(bytes(archive)).read()
    except zipfile.BadZipFile:
        return
    assert found == content  # a bit that deflate does not use


def test_a_member_compressed_otherwise_is_refused() -> None:
    with pytest.raises(zipfile.BadZipFile, match="unknown way"):
        member(zipped(b"x" * 100, zipfile.ZIP_LZMA))
