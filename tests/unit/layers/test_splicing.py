"""Deflate streams of wheels in layers: nothing is compressed again, and nothing else changes."""

import gzip
import io
import struct
import subprocess
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.ecosystems.place import image_place
from mlruntime.ecosystems.pypi.site import Site
from mlruntime.ecosystems.pypi.wheel import install_wheel
from mlruntime.ecosystems.pypi.zipped import Member
from mlruntime.errors import InvalidLock
from mlruntime.layers.gzipped import BLOCK, SPLICED_FROM, Gzipped, LayerBlob, inflated
from mlruntime.layers.writer import LayerWriter

from tests.unit.layers.test_layers import toy_wheel

# From what deflate makes nothing of to what it makes a thousandth of.
contents = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=5000).map(lambda data: data * 40),
    st.integers(0, 3 * BLOCK).map(bytes),
    st.integers(0, 100_000).map(lambda n: zlib.compress(bytes(range(256)) * 4)[:40] * (n // 40)),
    st.randoms(use_true_random=False).map(lambda r: r.randbytes(r.randrange(3 * SPLICED_FROM))),
)
levels = st.sampled_from((0, 1, 6, 9))


def deflated(content: bytes, level: int = 6) -> bytes:
    packer = zlib.compressobj(level, wbits=-15)
    return packer.compress(content) + packer.flush()


def archive(stream: bytes, content: bytes, *, size: int | None = None) -> io.BytesIO:
    """Return a zip archive with a member ``x`` whose stored form is ``stream``."""
    crc = zlib.crc32(content)
    fields = (20, 0, 8, 0, 33, crc, len(stream), len(content) if size is None else size, 1, 0)
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", *fields) + b"x" + stream
    central = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, *fields, 0, 0, 0, 0, 0) + b"x"
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)
    return io.BytesIO(local + central + end)


def member(handle: io.BytesIO) -> Member:
    return Member(handle, zipfile.ZipFile(handle).getinfo("x"))


def joined(one: Member) -> tuple[bytes, bytes]:
    pairs = list(one.pieces())
    return b"".join(plain for plain, _ in pairs), b"".join(packed for _, packed in pairs)


# what a zip archive stores


@given(contents, levels)
def test_a_member_comes_with_the_stream_it_is_stored_as(content: bytes, level: int) -> None:
    stream = deflated(content, level)
    one = member(archive(stream, content))
    assert (one.size, one.deflated) == (len(content), len(stream))
    assert joined(one) == (content, stream)
    assert member(archive(stream, content)).read() == content


def exactly(one: Member) -> None:
    left = one.size
    while left:
        left -= len(one.read(min(left, 7777)))


def refused(handle: io.BytesIO) -> None:
    for read in (joined, Member.read, exactly):
        with pytest.raises(zipfile.BadZipFile, match="x is damaged"):
            read(member(handle))


@given(contents.filter(bool), levels, st.binary(min_size=1, max_size=300_000 // 64))
def test_what_follows_a_stream_is_not_passed_on(content: bytes, level: int, more: bytes) -> None:
    refused(archive(deflated(content, level) + more * 64, content))


@given(contents.filter(bool), st.data())
def test_a_stream_that_lacks_its_end_is_refused(content: bytes, data: st.DataObject) -> None:
    stream = deflated(content)
    refused(archive(stream[: data.draw(st.integers(0, len(stream) - 1))], content))
    # All of the content, but the last block does not say that it is the last.
    packer = zlib.compressobj(wbits=-15)
    refused(archive(packer.compress(content) + packer.flush(zlib.Z_SYNC_FLUSH), content))


@given(contents.filter(bool), st.integers(1, BLOCK))
def test_a_stream_of_another_length_is_refused(content: bytes, more: int) -> None:
    refused(archive(deflated(content + bytes(more)), content))
    refused(archive(deflated(content), content, size=len(content) + more))


@given(contents.filter(lambda data: len(data) > 50), st.data())
def test_a_flipped_bit_is_refused_or_means_nothing(content: bytes, data: st.DataObject) -> None:
    """To isal, that is: zlib also refuses codes that are never used."""
    stream = bytearray(deflated(content))
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        plain, packed = joined(member(archive(bytes(stream), content)))
    except zipfile.BadZipFile:
        return
    assert (plain, packed) == (content, bytes(stream))


# what a layer makes of it


def layer(entries: list[tuple[bytes, int | None]]) -> tuple[LayerBlob, bytes]:
    """Write files, those with a level of compression spliced."""
    target = io.BytesIO()
    writer = LayerWriter(target)
    for number, (content, level) in enumerate(entries):
        if level is None:
            writer.data(f"a/{number}", content)
        else:
            one = member(archive(deflated(content, level), content))
            writer.deflated(f"a/{number}", one.pieces(), one.size)
    return writer.finish(), target.getvalue()


@given(st.lists(st.tuples(contents, st.none() | levels), max_size=6))
def test_splicing_changes_how_a_layer_is_packed_and_nothing_else(
    entries: list[tuple[bytes, int | None]],
) -> None:
    plain, packed_plainly = layer([(content, None) for content, _ in entries])
    spliced, packed = layer(entries)
    assert gzip.decompress(packed) == gzip.decompress(packed_plainly)
    assert (spliced.diff_id, spliced.unpacked) == (plain.diff_id, plain.unpacked)
    assert spliced.size == len(packed)
    assert layer(entries) == (spliced, packed)


@pytest.mark.starts
def test_gzip_reads_it() -> None:
    """The readers of engines and of skopeo and umoci are tried on a whole image."""
    _, packed = layer([(bytes(50_000), 6), (b"x" * BLOCK, None), (b"y" * 70, 9), (b"", 1)])
    done = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True)
    assert done.stdout == gzip.decompress(packed)


def test_a_length_that_was_not_announced_is_refused() -> None:
    one = member(archive(deflated(b"1234567"), b"1234567"))
    with pytest.raises(ValueError, match="7 bytes, 8 were announced"):
        LayerWriter(io.BytesIO()).deflated("a", one.pieces(), 8)


@pytest.mark.extra
def test_more_than_four_gigabytes_fit_into_a_member() -> None:
    """Its length is then given modulo 2**32, as the format wants it."""
    piece, target = bytes(1 << 24), io.BytesIO()
    assert Gzipped(target).splice((piece, b"") for _ in range(257)) == 257 << 24
    assert struct.unpack("<I", target.getvalue()[-4:]) == (1 << 24,)


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=4))
def test_a_file_of_several_members_is_inflated_whole(contents: list[bytes]) -> None:
    packed = b"".join(gzip.compress(content, mtime=0) for content in contents)
    assert b"".join(inflated(io.BytesIO(packed))) == b"".join(contents)


# what a wheel's layer has of it


def streams(wheel: Path) -> Iterator[tuple[str, bytes]]:
    with wheel.open("rb") as handle, zipfile.ZipFile(handle) as opened:
        for info in opened.infolist():
            yield info.filename, joined(Member(handle, info))[1]


def packed_again(wheel: Path, level: int) -> None:
    with zipfile.ZipFile(wheel) as opened:
        files = {info.filename: opened.read(info) for info in opened.infolist()}
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as opened:
        for name, content in files.items():
            opened.writestr(name, content)


def written(wheel: Path, bytecode: Path) -> bytes:
    target = io.BytesIO()
    writer = LayerWriter(target)
    install_wheel(writer, wheel, wheel.name, Site(image_place("3.11")), bytecode)
    writer.finish()
    return target.getvalue()


def test_a_wheels_large_files_keep_their_compression(tmp_path: Path) -> None:
    """All but scripts, which are rewritten; RECORD has the hashes of all."""
    noise = b"".join(struct.pack("<Q", n * 0x9E3779B97F4A7C15 % (1 << 64)) for n in range(4000))
    script = b"#!python\n" + b"".join(b"x%d = %r\n" % (n, noise[n : n + 9]) for n in range(3000))
    files = {
        "toy/__init__.py": b"import this\n",
        "toy/big.bin": noise,
        "toy-1.data/scripts/tool": script,
    }
    wheel, bytecode = toy_wheel(tmp_path, files)
    plain = gzip.decompress(written(wheel, bytecode))  # stored there
    packed_again(wheel, 9)
    packed = written(wheel, bytecode)
    found = dict(streams(wheel))
    assert len(found["toy-1.data/scripts/tool"]) > SPLICED_FROM
    assert [name for name, stream in found.items() if stream in packed] == ["toy/big.bin"]
    assert gzip.decompress(packed) == plain
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        site = "opt/ml/lib/python3.11/site-packages"
        content = tar.extractfile(f"{site}/toy/big.bin")
        assert content is not None
        assert content.read() == noise


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    wheel, bytecode = toy_wheel(tmp_path, {"toy/big.txt": bytes(range(256)) * 40_000})
    packed_again(wheel, 1)
    (stream,) = (stream for name, stream in streams(wheel) if name == "toy/big.txt")
    assert len(stream) > SPLICED_FROM
    damaged = wheel.read_bytes()
    at = damaged.index(stream) + len(stream) // 2
    wheel.write_bytes(damaged[:at] + bytes((damaged[at] ^ 1,)) + damaged[at + 1 :])
    with pytest.raises(InvalidLock, match=r"toy-1-py3-none-any\.whl cannot be installed"):
        written(wheel, bytecode)


def test_a_large_file_needs_little_memory(tmp_path: Path) -> None:
    wheel, bytecode = toy_wheel(tmp_path, {"toy/big.bin": bytes(64 * BLOCK)})
    packed_again(wheel, 6)
    tracemalloc.start()
    try:
        written(wheel, bytecode)
        assert tracemalloc.get_traced_memory()[1] < 8 * BLOCK
    finally:
        tracemalloc.stop()
