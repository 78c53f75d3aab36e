"""Headers of tar entries: tarfile is the judge."""

import io
import tarfile

from hypothesis import example, given
from hypothesis import strategies as st
from mlruntime.layers.headers import header

TYPES = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE)
segment = st.text("abc.-_ä ", min_size=1, max_size=120)
paths = st.lists(segment, min_size=1, max_size=8).map("/".join)


@st.composite
def entries(draw: st.DrawFn) -> tarfile.TarInfo:
    info = tarfile.TarInfo(draw(paths))
    info.type = draw(st.sampled_from(TYPES))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid = draw(st.integers(0, 8**7 + 5))
    info.gid = draw(st.integers(0, 70000))
    info.mtime = draw(st.integers(0, 2**32))
    if info.type == tarfile.REGTYPE:
        info.size = draw(st.one_of(st.integers(0, 5000), st.integers(8**11 - 2, 8**11 + 2)))
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = draw(paths)
    return info


def named(name: str) -> tarfile.TarInfo:
    return tarfile.TarInfo(name)


@given(entries())
@example(named("a" * 100))
@example(named("a" * 101))
@example(named("a/" + "b" * 100))
@example(named("a" * 155 + "/" + "b" * 100))
@example(named("a" * 156 + "/" + "b" * 100))
def test_a_header_is_that_of_tarfile_in_the_cheapest_format(info: tarfile.TarInfo) -> None:
    found = header(info)
    try:
        info.name.encode("ascii")
        info.linkname.encode("ascii")
        expected = info.tobuf(tarfile.USTAR_FORMAT)
    except ValueError:
        expected = info.tobuf(tarfile.PAX_FORMAT)
    assert found == expected


@given(entries())
def test_a_header_reads_back(info: tarfile.TarInfo) -> None:
    info.name = info.name.strip("/ ") or "x"
    archive = io.BytesIO(header(info) + bytes(1024))
    with tarfile.open(fileobj=archive) as tar:
        found = tar.next()
    assert found is not None
    for field in ("name", "type", "mode", "uid", "gid", "size", "mtime", "linkname"):
        assert getattr(found, field) == getattr(info, field), field
