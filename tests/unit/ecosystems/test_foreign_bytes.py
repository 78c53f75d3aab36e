"""Readers of what others have made: whatever the bytes, one of our errors, and nothing outside.

A profile of hypothesis says how many inputs are tried (tests/conftest.py): `all` tries 10,000.
"""

import gzip
import io
import tarfile
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.ecosystems.debian.packages import add_changes, read_package, unpack
from mlruntime.ecosystems.directory import DirectorySink
from mlruntime.ecosystems.maven.pom import parse_pom
from mlruntime.ecosystems.maven.shipped import read_shipped
from mlruntime.ecosystems.native.patching import DoesNotApply
from mlruntime.ecosystems.native.sdist import DamagedSdist, patched
from mlruntime.ecosystems.place import Place
from mlruntime.ecosystems.pypi.site import Site
from mlruntime.ecosystems.pypi.wheel import install_wheel, note_files
from mlruntime.errors import InvalidLock, MlruntimeError, Unavailable
from mlruntime.layers.writer import LayerWriter

from tests.unit.debs import deb, tarred
from tests.unit.ecosystems.test_patching import diff, sdist
from tests.unit.wheels import made_wheel

PLACE = Place(prefix="env", interpreter="/env/bin/python", python="3.13")
MiB = 1 << 20


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Return what changes a file here and there: bits, bytes, a cut, a part twice."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(("flip", "set", "cut", "drop", "twice", "insert")),
                st.integers(0, 1 << 20),
                st.integers(0, 255),
                st.binary(max_size=20),
            ),
            min_size=1,
            max_size=4,
        )
    )

    def apply(content: bytes) -> bytes:
        found = bytearray(content)
        for kind, where, value, more in steps:
            at = where % (len(found) or 1)
            if kind == "flip" and found:
                found[at] ^= 1 << value % 8
            elif kind == "set" and found:
                found[at] = value
            elif kind == "cut":
                del found[at:]
            elif kind == "drop":
                del found[at : at + value]
            elif kind == "twice":
                found[at:at] = found[at : at + value]
            else:
                found[at:at] = more
        return bytes(found)

    return apply


# Names as an attacker might choose them, and as anybody might.
segments = st.sampled_from(
    ["..", ".", "", "a", "b", "toy", "toy-1.dist-info", "toy-1.data", "scripts", "purelib", "data",
     ".wh.x", ".wh..wh..opq", "x\ny", "ä", "\udcff", "C:", "~", "__pycache__", "RECORD", "link"]
)  # fmt: skip
names = st.lists(segments, min_size=1, max_size=5).map("/".join)


@contextmanager
def contained() -> Iterator[Path]:
    """Yield a directory to work in; nothing may have been written beside its ``root``."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "outside").mkdir()
        (here / "outside" / "secret").write_text("mine")
        (here / "root").mkdir()
        (here / "input").mkdir()
        yield here
        assert {path.name for path in here.iterdir()} == {"outside", "root", "input"}
        assert [p.read_text() for p in (here / "outside").iterdir()] == ["mine"]
        for path in (here / "root").rglob("*"):
            assert not path.name.startswith(".wh.")


def install(here: Path, wheel: Path) -> None:
    with suppress(InvalidLock), DirectorySink(here / "root") as sink:
        install_wheel(sink, wheel, "toy-1-py3-none-any.whl", Site(PLACE))
    with suppress(InvalidLock):
        install_wheel(LayerWriter(io.BytesIO()), wheel, "toy-1-py3-none-any.whl", Site(PLACE))


@given(damage())
def test_a_damaged_wheel(change: Callable[[bytes], bytes]) -> None:
    with contained() as here:
        files = {
            "toy/__init__.py": "x" * 500,
            "toy-1.data/scripts/t": "#!python\n",
            "big": b"y" * 9000,
        }
        wheel = made_wheel(
            here / "input", "toy", files, entry_points="[console_scripts]\nt = t:t\n"
        )
        wheel.write_bytes(change(wheel.read_bytes()))
        install(here, wheel)


@given(damage(), st.booleans())
def test_a_damaged_sdist(change: Callable[[bytes], bytes], plain: bool) -> None:
    content = sdist(**{"x": "a\n", "y.c": "int main;\n" * 300})
    if plain:  # else the compression's checksum finds nearly everything
        content = gzip.decompress(content)
    with suppress(DamagedSdist, DoesNotApply):
        patched(change(content), {"1.patch": diff("a\n", "b\n", "x").encode()}, lambda _: None)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(
    st.dictionaries(names, st.binary(max_size=50), max_size=4),
    st.text(max_size=60),
    st.integers(0, 0xFFFF),
)
def test_a_wheel_of_any_names(files: dict[str, bytes], points: str, mode: int) -> None:
    with contained() as here:
        wheel = made_wheel(here / "input", "toy", {})
        with suppress(UnicodeEncodeError), zipfile.ZipFile(wheel, "a") as archive:
            for name, content in files.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = mode << 16  # links and devices, too
                archive.writestr(info, content)
            archive.writestr("toy-1.dist-info/entry_points.txt", points)
        install(here, wheel)


@pytest.mark.parametrize(
    "record", ["x", "\0", "a,b", "a,,,", '"', "a,md5=x,y", "a" * 200_000 + ",,"]
)
def test_a_record_that_is_none(record: str) -> None:
    """Found by the property above, after some thousand inputs."""
    with contained() as here:
        wheel = made_wheel(here / "input", "toy", {"toy.py": "", "a": ""})
        with zipfile.ZipFile(wheel, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("toy-1.dist-info/RECORD", record)
        with pytest.raises(InvalidLock, match="cannot be installed"):
            note_files(wheel, "toy-1-py3-none-any.whl", Site(PLACE))
        install(here, wheel)


def test_metadata_that_would_fill_the_memory_are_not_read() -> None:
    with contained() as here:
        wheel = made_wheel(here / "input", "toy", {})
        with (
            zipfile.ZipFile(wheel, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open("toy-1.dist-info/entry_points.txt", "w", force_zip64=True) as file,
        ):
            for _ in range(70):
                file.write(bytes(MiB))
        tracemalloc.start()
        try:
            with pytest.raises(InvalidLock, match="cannot be installed") as caught:
                install_wheel(
                    LayerWriter(io.BytesIO()), wheel, "toy-1-py3-none-any.whl", Site(PLACE)
                )
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert "larger than" in str(caught.value.why)
        assert peak < 20 * MiB


KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE,
     tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.CONTTYPE]
)  # fmt: skip
entries = st.lists(st.tuples(names, KINDS, names, st.integers(0, 0o7777)), max_size=5)


def any_tar(entries: list[tuple[str, bytes, str, int]]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", errors="surrogateescape") as tar:
        for name, kind, link, mode in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode = kind, link, mode
            content = b"content" if info.isreg() else b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


@given(entries)
def test_a_package_of_any_entries(entries: list[tuple[str, bytes, str, int]]) -> None:
    with contained() as here:
        artifact, path = deb(here / "input", "toy", {}, data=any_tar(entries))
        with suppress(InvalidLock, FileExistsError):
            unpack(LayerWriter(io.BytesIO()), [(artifact, path)])
        with suppress(InvalidLock, FileExistsError), DirectorySink(here / "root") as sink:
            unpack(sink, [(artifact, path)])


@given(damage())
def test_a_damaged_package(change: Callable[[bytes], bytes]) -> None:
    with contained() as here:
        files: dict[str, bytes | tuple[bytes, str]] = {"./usr/": b"", "./usr/bin/x": b"x" * 300}
        artifact, path = deb(here / "input", "toy", files, {"conffiles": b"/etc/x\n"})
        path.write_bytes(change(path.read_bytes()))
        with suppress(InvalidLock):
            read_package(artifact, path)
        with suppress(InvalidLock), DirectorySink(here / "root") as sink:
            unpack(sink, [(artifact, path)])


@given(entries, damage())
def test_changes_of_any_entries(
    entries: list[tuple[str, bytes, str, int]], change: Callable[[bytes], bytes]
) -> None:
    """A package's scripts leave what they like."""
    with contained() as here:
        archive = here / "input" / "changes.tar"
        for content in (any_tar(entries), change(any_tar(entries))):
            archive.write_bytes(content)
            with suppress(MlruntimeError):
                add_changes(LayerWriter(io.BytesIO()), archive, [name for name, *_ in entries])


@given(damage())
def test_a_damaged_source_distribution(change: Callable[[bytes], bytes]) -> None:
    with contained() as here:
        path = here / "input" / "s.tar"
        path.write_bytes(change(tarred({"s/jars/a-1.jar": b"PK", "s/jars/b-2.jar": b"x" * 600})))
        with suppress(InvalidLock):
            read_shipped(path, "s.tar.gz")


POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><parent><groupId>g</groupId>
<artifactId>p</artifactId><version>1</version></parent><artifactId>a</artifactId><properties><v>${v}
</v></properties><dependencies><dependency><groupId>g</groupId><artifactId>${b}</artifactId>
<exclusions><exclusion/></exclusions></dependency></dependencies></project>"""


@given(damage(), st.text(max_size=100))
def test_a_damaged_pom(change: Callable[[bytes], bytes], text: str) -> None:
    for found in (change(POM.encode()).decode(errors="replace"), text):
        with suppress(Unavailable):
            parse_pom(found, file="a.pom")
