"""Files into containers and out of them: what comes out is not trusted."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.engine.archives import packed, reader, save_file, save_files
from mlruntime.errors import CommandFailed


def archive(*members: tuple[str, bytes, str]) -> Iterator[bytes]:
    """Return a tar of members: a name, a type, and content or what a link points to."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, content if kind in (b"1", b"2") else ""
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(content.encode()))
    return iter([buffer.getvalue()])


FOLDER = ("out", tarfile.DIRTYPE, "")
FILE = ("out/a", tarfile.REGTYPE, "content")


def test_what_is_packed_can_be_read_by_everybody_and_open_folders_be_written_to(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 1000)
    chunks = packed({"mlr/in/a": source, "mlr/b": b"bytes"}, folders=["mlr/out"])
    with tarfile.open(fileobj=reader(chunks), mode="r|") as tar:
        found = {m.name: (m.mode, tar.extractfile(m).read() if m.isreg() else None) for m in tar}  # type: ignore[union-attr]
    assert found == {
        "mlr": (0o755, None),
        "mlr/in": (0o755, None),
        "mlr/out": (0o777, None),
        "mlr/in/a": (0o644, b"x" * 1000),
        "mlr/b": (0o644, b"bytes"),
    }


def test_regular_files_come_out(tmp_path: Path) -> None:
    save_file(archive(("a", tarfile.REGTYPE, "content")), tmp_path / "one")
    assert (tmp_path / "one").read_text() == "content"
    (tmp_path / "many").mkdir()
    second = ("out/b", tarfile.REGTYPE, "")
    assert save_files(archive(FOLDER, second, FILE), tmp_path / "many") == (
        tmp_path / "many" / "a",
        tmp_path / "many" / "b",
    )


@pytest.mark.parametrize(
    "member",
    [
        ("out/x", tarfile.SYMTYPE, "/etc/passwd"),
        ("out/x", tarfile.LNKTYPE, "out/a"),
        ("out/x", tarfile.FIFOTYPE, ""),
        ("out/x", tarfile.CHRTYPE, ""),
        ("out/x", tarfile.DIRTYPE, ""),
        ("out/../x", tarfile.REGTYPE, "x"),
        ("/x", tarfile.REGTYPE, "x"),
        ("../x", tarfile.REGTYPE, "x"),
        ("out/..", tarfile.REGTYPE, "x"),
    ],
)
def test_nothing_else_does(member: tuple[str, bytes, str], tmp_path: Path) -> None:
    folder = tmp_path / "below" / "here"
    folder.mkdir(parents=True)
    with pytest.raises(CommandFailed, match="which is no regular file"):
        save_files(archive(FOLDER, member), folder)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    if member[1] != tarfile.REGTYPE:
        with pytest.raises(CommandFailed, match="which is no regular file"):
            save_file(archive(member), tmp_path / "one")
        assert not (tmp_path / "one").exists()


def test_an_empty_archive_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="left nothing"):
        save_file(archive(), tmp_path / "one")


@pytest.mark.parametrize("cut", range(0, 2048, 100))
def test_an_archive_that_breaks_off_is_told(cut: int, tmp_path: Path) -> None:
    """As when a container is removed while its files are read."""
    (whole,) = archive(("a", tarfile.REGTYPE, "x" * 1500))
    with pytest.raises(CommandFailed, match=r"left nothing|cannot be read"):
        save_file(iter([whole[:cut]]), tmp_path / "one")


@given(st.lists(st.binary(max_size=50), max_size=10), st.integers(1, 30))
def test_a_reader_gives_back_all_bytes(chunks: list[bytes], size: int) -> None:
    file, found = reader(iter(chunks)), b""
    while piece := file.read(size):
        found += piece
    assert found == b"".join(chunks)
