"""Debian's Packages files, whatever bytes they are, and what apt on a host says of archives."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.ecosystems.debian.archive import paragraphs, reach_settings
from mlruntime.errors import Unavailable

from tests.unit.damaged import damaged

PARAGRAPH = b"""Package: toy
Version: 1:2.0-1
Architecture: amd64
Filename: pool/main/t/toy/toy_2.0-1_amd64.deb
Size: 120
SHA256: %s
Description: a toy
 for tests
""" % (b"0a" * 32)


def read(content: bytes) -> list[str]:
    found = []
    for entry in paragraphs(content.decode("utf-8", "replace"), "trixie"):
        entry.key()
        found.append(entry.artifact().name)
    return found


def test_a_whole_file_is_read() -> None:
    assert read(PARAGRAPH + b"\n" + PARAGRAPH.replace(b"toy", b"car")) == ["toy", "car"]


@given(damaged(PARAGRAPH + b"\n" + PARAGRAPH) | st.binary(max_size=60))
def test_a_file_is_read_or_told(content: bytes) -> None:
    try:
        read(content)
    except Unavailable as error:
        assert "trixie" in error.what


@pytest.mark.parametrize("field", ["Package", "Version", "Filename", "Size", "SHA256"])
def test_the_field_that_is_missing_is_named(field: str) -> None:
    """Archives of old tools have MD5sum alone."""
    lines = [line for line in PARAGRAPH.splitlines() if not line.startswith(field.encode())]
    with pytest.raises(Unavailable) as caught:
        read(b"\n".join(lines))
    assert field in (caught.value.why or "")


@pytest.mark.starts
def test_what_apt_is_told_of_all_archives_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that reads a snapshot says so in apt.conf, for apt and so for `lock`."""
    config = tmp_path / "apt.conf"
    config.write_text(
        'Acquire::Check-Valid-Until "false";\nAcquire::Max-ValidTime "0";\n'
        'Acquire::Min-ValidTime "9";\nAcquire::ForceIPv4 "true";\n'
        'Acquire::ForceIPv6 "false";\nAcquire::http::Timeout "7";\n'
        'Acquire::Languages "de";\nAPT::Get::AllowUnauthenticated "true";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    found = {line.split()[0] for line in reach_settings()}
    assert {
        "Acquire::Check-Valid-Until", "Acquire::Max-ValidTime", "Acquire::Min-ValidTime",
        "Acquire::ForceIPv4", "Acquire::ForceIPv6", "Acquire::http::Timeout",
    } <= found  # fmt: skip
    assert not {"Acquire::Languages", "APT::Get::AllowUnauthenticated"} & found
