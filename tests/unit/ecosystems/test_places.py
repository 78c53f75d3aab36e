"""Wheels in places: the same files in a layer and in a directory, and never any outside."""

import io
import os
import posixpath
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.ecosystems.directory import DirectorySink
from mlruntime.ecosystems.place import Place, image_place
from mlruntime.ecosystems.pypi.site import Site
from mlruntime.ecosystems.pypi.wheel import add_files, install_wheel, note_files
from mlruntime.errors import InvalidLock
from mlruntime.image.sources.model import Apart
from mlruntime.image.sources.python_files import LeftOut
from mlruntime.layers.paths import UnsafePath, checked
from mlruntime.layers.sink import MTIME
from mlruntime.layers.writer import WRITER, LayerWriter

from tests.unit.wheels import made_wheel

SITE = "opt/ml/lib/python3.11/site-packages"
NOISE = b"".join(bytes([n % 251, n // 251 % 256]) for n in range(40_000))
FILES = {
    "toy/__init__.py": "def main(): ...\n",
    "toy/data.bin": NOISE,  # large enough to be passed on as it is compressed
    "toy-1.data/scripts/tool": "#!python\nprint(1)\n",
    "toy-1.data/data/share/toy.txt": "hello",
    "toy-1.data/headers/toy.h": "int toy;\n",
}
ENTRY_POINT = "[console_scripts]\ntoy = toy:main\n"


@dataclass(frozen=True)
class Entry:
    """What can be told of an entry of a layer and of a directory alike."""

    mode: int
    content: bytes | str | None


def of_layer(wheels: list[Path], place: Place) -> dict[str, Entry]:
    target, site = io.BytesIO(), Site(place)
    writer = LayerWriter(target)
    for wheel in wheels:
        install_wheel(writer, wheel, wheel.name, site)
    writer.finish()
    with tarfile.open(fileobj=io.BytesIO(target.getvalue()), mode="r:gz") as tar:
        return {i.name: Entry(i.mode, content(tar, i)) for i in tar}


def content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes | str | None:
    file = tar.extractfile(info) if info.isreg() else None
    return file.read() if file else info.linkname or None


def of_directory(root: Path) -> dict[str, Entry]:
    found = {}
    for path in sorted(root.rglob("*")):
        status, name = path.lstat(), path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = Entry(0o777, str(path.readlink()))
        else:
            whole = path.read_bytes() if path.is_file() else None
            found[name] = Entry(status.st_mode & 0o7777, whole)
            assert path.is_dir() or status.st_mtime == MTIME
    return found


def installed(root: Path, wheels: list[Path], place: Place) -> dict[str, Entry]:
    site = Site(place)
    root.mkdir(exist_ok=True)
    with DirectorySink(root) as sink:
        for wheel in wheels:
            install_wheel(sink, wheel, wheel.name, site)
    return of_directory(root)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_a_wheel_is_the_same_in_a_layer_and_in_a_directory(tmp_path: Path, umask: int) -> None:
    wheel = made_wheel(tmp_path, "toy", FILES, entry_points=ENTRY_POINT)
    place = image_place("3.11")
    before = os.umask(umask)
    try:
        found = installed(tmp_path / "root", [wheel], place)
    finally:
        os.umask(before)
    assert found == of_layer([wheel], place)
    assert found[f"{SITE}/toy/data.bin"].content == NOISE
    assert found["opt/ml/bin/toy"].mode == found["opt/ml/bin/tool"].mode == 0o755
    record = found[f"{SITE}/toy-1.dist-info/RECORD"].content
    assert isinstance(record, bytes)
    assert b"../../../bin/toy,sha256=" in record


def test_files_that_are_left_out_are_in_no_record_and_can_be_put_back(tmp_path: Path) -> None:
    """TensorFlow's wheel has headers in two places, one of them below its ``.data`` folder."""
    files = {
        **FILES,
        "toy/include/a.h": "1",
        "toy-1.data/purelib/toy/include/b.h": "22",
        "toy/include/kept.h": "3",
        "toy-1.data/scripts/toy/include/c": "#!python\n",
    }
    wheel = made_wheel(tmp_path, "toy", files)
    headers = LeftOut(files="toy/include/*", but=("toy/include/kept.h",), why="headers")
    site, root = Site(image_place("3.11")), tmp_path / "root"
    root.mkdir()
    with DirectorySink(root) as sink:
        install_wheel(sink, wheel, wheel.name, site, None, lambda path: not headers.has(path))
        found = set(of_directory(root))
        assert f"{SITE}/toy/include/kept.h" in found
        assert not {f"{SITE}/toy/include/a.h", f"{SITE}/toy/include/b.h"} & found
        record = (root / f"{SITE}/toy-1.dist-info/RECORD").read_text()
        listed = {posixpath.normpath(f"{SITE}/{line.split(',')[0]}") for line in record.split()}
        assert listed == {path for path in found if (root / path).is_file()}
        before = (root / f"{SITE}/toy-1.dist-info/RECORD").read_bytes()
        add_files(sink, wheel, wheel.name, site, headers.has)
    assert set(of_directory(root)) - found == {
        f"{SITE}/toy/include/a.h",
        f"{SITE}/toy/include/b.h",
    }
    assert (root / f"{SITE}/toy/include/b.h").read_bytes() == b"22"
    assert (root / f"{SITE}/toy-1.dist-info/RECORD").read_bytes() == before


def test_files_apart_are_in_the_record_and_where_they_belong(tmp_path: Path) -> None:
    """Both layers together are what one would be, but for their order."""
    wheel = made_wheel(tmp_path, "toy", {**FILES, "toy/jars/a.jar": NOISE, "toy/jars/b.py": "b\n"})
    jars = Apart(package="toy", files=("toy/*",), but=("toy/data.bin",))
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
        with DirectorySink(tmp_path / name) as sink:
            site = Site(image_place("3.11"))
            elsewhere = jars.has if name == "parts" else (lambda _: False)
            install_wheel(sink, wheel, wheel.name, site, elsewhere=elsewhere)
            if name == "parts":
                missing = set(of_directory(tmp_path / "whole")) - set(of_directory(tmp_path / name))
                assert missing == {f"{SITE}/toy/jars/a.jar"}  # modules stay
                assert add_files(sink, wheel, wheel.name, site, jars.has) == 1
    assert of_directory(tmp_path / "parts") == of_directory(tmp_path / "whole")


def test_a_place_of_its_own_has_its_own_paths_and_interpreter(tmp_path: Path) -> None:
    """An environment in a directory: the root is the prefix."""
    wheel = made_wheel(tmp_path, "toy", FILES, entry_points=ENTRY_POINT)
    root = tmp_path / "env"
    place = Place(prefix="", interpreter=f"{root}/bin/python", python="3.13")
    found = installed(root, [wheel], place)
    assert "lib/python3.13/site-packages/toy/__init__.py" in found
    assert found["share/toy.txt"].content == b"hello"
    assert found["bin/tool"].content == f"#!{root}/bin/python\nprint(1)\n".encode()
    record = found["lib/python3.13/site-packages/toy-1.dist-info/RECORD"].content
    assert isinstance(record, bytes)
    assert b"../../../share/toy.txt,sha256=" in record


# The diffID of a layer with a wheel in it, for each number of WRITER.
INSTALLED = {3: "2830c36dc14932957f17397cfd6f22c80d3fb224f8dd513206056f52880f8932"}


def test_the_bytes_of_a_layer_do_not_change_without_the_number_in_its_key(tmp_path: Path) -> None:
    """Else an old layer in somebody's store would stand for other bytes."""
    wheel = made_wheel(tmp_path, "toy", FILES, entry_points=ENTRY_POINT)
    target = io.BytesIO()
    writer = LayerWriter(target)
    install_wheel(writer, wheel, wheel.name, Site(image_place("3.11")))
    writer.symlink("usr/lib/link", "../x")
    found = writer.finish().diff_id
    assert found == f"sha256:{INSTALLED[WRITER]}", "count WRITER up, and note these bytes for it"


@pytest.mark.parametrize(
    "member",
    ["toy-1.data", "toy-1.data/data", "./toy-1.data/scripts/x", "./toy/more.py", "toy//more.py"],
)
def test_a_path_that_the_installer_cannot_place_is_refused(tmp_path: Path, member: str) -> None:
    """The installer itself looks for the ``.data`` folder of the first and third without end."""
    wheel = made_wheel(tmp_path, "toy", {**FILES, member: b""})
    with pytest.raises(InvalidLock, match=r"toy-1-py3-none-any\.whl cannot be installed") as raised:
        install_wheel(LayerWriter(io.BytesIO()), wheel, wheel.name, Site(image_place("3.11")))
    assert member in str(raised.value.why)


# what two wheels, or two parts of one, have in common


def test_wheels_may_share_a_file_that_is_the_same_in_both(tmp_path: Path) -> None:
    """As databricks-sdk and databricks-sql-connector do: once there, and in both RECORDs."""
    text = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    wheels = [
        made_wheel(tmp_path, name, {"shared/__init__.py": text, f"shared/{name}.py": ""})
        for name in ("one", "two")
    ]
    found = of_layer(wheels, image_place("3.11"))
    assert found == installed(tmp_path / "root", wheels, image_place("3.11"))
    assert found[f"{SITE}/shared/__init__.py"].content == text.encode()
    for name in ("one", "two"):
        record = found[f"{SITE}/{name}-1.dist-info/RECORD"].content
        assert isinstance(record, bytes)
        assert b"shared/__init__.py,sha256=" in record


@pytest.mark.parametrize("other", ["an other", "longer than that"])
def test_a_file_that_differs_between_wheels_is_refused_with_both_names(
    tmp_path: Path, other: str
) -> None:
    wheels = [
        made_wheel(tmp_path, "one", {"shared/__init__.py": "one text"}),
        made_wheel(tmp_path, "two", {"shared/__init__.py": other}),
    ]
    with pytest.raises(InvalidLock, match=r"two-1-py3-none-any\.whl cannot be installed") as caught:
        of_layer(wheels, image_place("3.11"))
    said = f"{SITE}/shared/__init__.py is also in one-1-py3-none-any.whl, with different content"
    assert caught.value.why == said


def test_wheels_may_share_an_entry_point_that_is_the_same(tmp_path: Path) -> None:
    wheels = [made_wheel(tmp_path, name, {}, entry_points=ENTRY_POINT) for name in ("one", "two")]
    assert "opt/ml/bin/toy" in of_layer(wheels, image_place("3.11"))
    wheels.append(made_wheel(tmp_path, "three", {}, entry_points="[console_scripts]\ntoy = x:y\n"))
    with pytest.raises(InvalidLock, match="cannot be installed"):
        of_layer(wheels, image_place("3.11"))


@pytest.mark.parametrize("script", ["toy", "toy.exe", "toy-script.py"])
def test_the_entry_point_wins_over_a_script_of_its_name_as_with_pip(
    tmp_path: Path, script: str
) -> None:
    files = {f"toy-1.data/scripts/{script}": "#!python\nold()\n", "toy-1.data/scripts/x": ""}
    wheel = made_wheel(tmp_path, "toy", files, entry_points=ENTRY_POINT)
    found = of_layer([wheel], image_place("3.11"))
    made = found["opt/ml/bin/toy"].content
    assert isinstance(made, bytes)
    assert b"from toy import main" in made
    assert {name for name in found if name.startswith("opt/ml/bin/")} == {
        "opt/ml/bin/toy",
        "opt/ml/bin/x",
    }


# paths


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "a/.wh.b", ".wh..wh..opq", "a\nb"])
def test_a_path_that_no_place_may_have_is_refused(path: str) -> None:
    with pytest.raises(UnsafePath):
        checked(path)


@given(st.text("a./\0\n", max_size=12))
def test_a_checked_path_stays_below_its_root(path: str) -> None:
    try:
        found = checked(path)
    except UnsafePath:
        return
    assert checked(found) == found
    assert os.path.normpath(f"/root/{found}").startswith("/root")
    assert found == os.path.normpath(path or ".").removeprefix(".").removeprefix("/") or "." in path


@pytest.mark.parametrize(
    "name",
    [
        "../../../../etc/x",
        "/etc/x",
        "toy/.wh.x",
        "toy-1.data/data/../../x",
        "toy-1.data/data/../x",
    ],
)
def test_a_wheel_with_such_a_path_is_refused_by_name(tmp_path: Path, name: str) -> None:
    wheel = made_wheel(tmp_path, "toy", {name: "x"})
    with pytest.raises(InvalidLock, match=r"toy-1-py3-none-any\.whl cannot be installed"):
        of_layer([wheel], image_place("3.11"))
    with pytest.raises(InvalidLock, match=r"toy-1-py3-none-any\.whl cannot be installed"):
        installed(tmp_path / "root", [wheel], image_place("3.11"))
    assert not (tmp_path / "x").exists()


# a directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


def test_nothing_is_written_through_a_link(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "lib").symlink_to(outside)
    (root / "file").symlink_to(outside / "file")
    with DirectorySink(root) as sink:
        with pytest.raises(UnsafePath, match="lib is in the way"):
            sink.data("lib/x", b"x")
        with pytest.raises(UnsafePath, match="lib is in the way"):
            sink.directory("lib")
        with pytest.raises(FileExistsError, match="file"):
            sink.data("file", b"x")
        assert "lib" in sink
        assert "lib/x" not in sink
    assert list(outside.iterdir()) == []


def test_what_is_there_stays_and_half_a_file_never_does(root: Path) -> None:
    (root / "a").mkdir()
    (root / "a" / "b").write_text("mine")
    with DirectorySink(root) as sink:
        with pytest.raises(FileExistsError, match="a/b"):
            sink.data("a/b", b"x")
        with pytest.raises(ValueError, match="7 bytes less"):
            sink.file("a/c", io.BytesIO(b"123"), 10)
        with pytest.raises(FileExistsError, match="a/b"):
            sink.symlink("a/b", "c")
        sink.symlink("a/link", "../../anywhere")  # where it points to is the place's own affair
    assert (root / "a" / "b").read_text() == "mine"
    assert sorted(path.name for path in (root / "a").iterdir()) == ["b", "link"]


def test_entries_of_an_archive_keep_their_kind_and_mode(root: Path) -> None:
    def entry(name: str, kind: bytes, mode: int = 0o644, link: str = "") -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.linkname = kind, mode, link
        return info

    with DirectorySink(root) as sink:
        sink.member(entry("./etc/private", tarfile.DIRTYPE, 0o700), None)
        file = entry("etc/tool", tarfile.REGTYPE, 0o4755)
        file.size = 4
        sink.member(file, io.BytesIO(b"tool"))
        sink.member(entry("etc/same", tarfile.LNKTYPE, link="./etc/tool"), None)
        sink.member(entry("etc/link", tarfile.SYMTYPE, link="tool"), None)
        for kind in (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE):
            with pytest.raises(UnsafePath, match="etc/odd: neither a file"):
                sink.member(entry("etc/odd", kind), None)
        with pytest.raises(UnsafePath):
            sink.member(entry("etc/out", tarfile.LNKTYPE, link="../../etc/passwd"), None)
    assert (root / "etc/private").stat().st_mode & 0o7777 == 0o700
    assert (root / "etc/tool").stat().st_mode & 0o7777 == 0o4755
    assert (root / "etc/same").stat().st_ino == (root / "etc/tool").stat().st_ino
    assert (root / "etc/link").readlink() == Path("tool")


def test_what_is_noted_of_a_wheel_is_what_is_installed(tmp_path: Path) -> None:
    wheel = made_wheel(tmp_path, "toy", FILES, entry_points=ENTRY_POINT)
    site = Site(image_place("3.11"))
    note_files(wheel, wheel.name, site)
    installed = {path for path, entry in of_layer([wheel], site.place).items() if entry.content}
    made_here = {f"{SITE}/toy-1.dist-info/{name}" for name in ("INSTALLER", "RECORD")}
    assert site.files == installed - made_here


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [
        ({"shared/x.py": "1\n"}, {"shared/x.py": "2\n"}, f"{SITE}/shared/x.py"),
        ({"a-1.data/scripts/run": "#!python\n1\n"}, {"b-1.data/scripts/run": "#!python\n2\n"},
         "opt/ml/bin/run"),
        ({"a-1.data/data/etc/x": "1"}, {"b-1.data/data/etc/x": "2"}, "opt/ml/etc/x"),
        ({"shared/x.py": "1"}, {"b-1.data/platlib/shared/x.py": "2"}, f"{SITE}/shared/x.py"),
    ],
)  # fmt: skip
def test_two_wheels_with_one_file_are_named_without_being_installed(
    first: dict[str, str], second: dict[str, str], path: str, tmp_path: Path
) -> None:
    one, two = made_wheel(tmp_path, "a", first), made_wheel(tmp_path, "b", second)
    site = Site(image_place("3.11"))
    note_files(one, one.name, site)
    with pytest.raises(InvalidLock, match=r"b-1-py3-none-any\.whl cannot be installed") as caught:
        note_files(two, two.name, site)
    assert caught.value.why == f"{path} is also in {one.name}, with different content"
