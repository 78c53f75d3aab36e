"""Debian packages as the builder unpacks them: toy packages, no engine; dpkg as the judge."""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.ecosystems.debian import dpkg
from mlruntime.ecosystems.debian import packages as debian
from mlruntime.ecosystems.debian.packages import read_package
from mlruntime.errors import InvalidLock
from mlruntime.layers.paths import UnsafePath
from mlruntime.layers.writer import MTIME, LayerWriter
from mlruntime.lock.packages import Artifact

from tests.unit.debs import deb, tarred

Pair = tuple[Artifact, Path]


def layer(*packages: Pair) -> bytes:
    target = io.BytesIO()
    writer = LayerWriter(target)
    debian.unpack(writer, packages)
    writer.finish()
    return target.getvalue()


def members(packed: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        return {info.name: info for info in tar}


def contents(packed: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        return {i.name: tar.extractfile(i).read() for i in tar if i.isreg()}  # type: ignore[union-attr]


def test_packages_are_unpacked_into_a_merged_usr(tmp_path: Path) -> None:
    one = deb(
        tmp_path,
        "one",
        {
            "./": b"",
            "./bin/": b"",
            "./bin/tool": b"x",
            "./bin/same": (tarfile.LNKTYPE, "./bin/tool"),
            "./lib64/": b"",
            "./lib64/ld.so": b"x",
            "./usr/": b"",
            "./usr/bin/": b"",
            "./usr/share/man/man1/tool.1": b"left out",
            "./usr/share/doc/one/": b"",
            "./usr/share/doc/one/copyright": b"kept",
            "./usr/share/doc/one/README": b"left out",
            "./var/log/one/": b"",
            "./usr/share/man/copyright": b"left out",
            "./.hidden": b"kept",
            "./etc/": b"",
        },
    )
    two = deb(tmp_path, "two", {"./etc/": b"", "./etc/two": b"2"})
    packed = layer(one, two)
    found = members(packed)
    assert {name for name in found if not name.startswith("var/lib")} == {
        "bin", "lib", "lib64", "sbin", "usr", "usr/bin", "usr/bin/tool", "usr/bin/same",
        "usr/lib64", "usr/lib64/ld.so", "usr/share", "usr/share/doc", "usr/share/doc/one",
        "usr/share/doc/one/copyright", "etc", "etc/two", ".hidden",
        "var", "var/log", "var/log/one",
    }  # fmt: skip
    assert found["bin"].linkname == "usr/bin"
    assert found["usr/bin/same"].linkname == "usr/bin/tool"
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        names = tar.getnames()
    assert len(names) == len(set(names))


def test_the_same_packages_give_the_same_layer(tmp_path: Path) -> None:
    packed = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        packed.append(layer(deb(tmp_path / name, "one", {"./etc/one": b"1"})))
    assert packed[0] == packed[1]


# The diffID of a layer with a bit of everything, and of changes to it, for each number of RECIPE.
UNPACKED = {"1": ("54fe6faa77319749", "e1bcb40c8d079230")}


def test_the_bytes_of_a_layer_do_not_change_without_the_number_in_its_key(tmp_path: Path) -> None:
    """Else an old layer in somebody's store would stand for other bytes."""
    script = b"#!/bin/sh\nexit 0\n"
    one = deb(
        tmp_path,
        "one",
        {
            "./": b"",
            "./bin/": b"",
            "./bin/tool": b"x" * 3000,
            "./bin/same": (tarfile.LNKTYPE, "./bin/tool"),
            "./etc/": b"",
            "./etc/tool.conf": b"a = 1\n",
            "./usr/share/doc/one/copyright": b"kept",
            "./usr/share/man/man1/tool.1": b"left out",
            "./var/private/": (tarfile.DIRTYPE, "0700"),
            "./usr/lib/link": (tarfile.SYMTYPE, "../bin/tool"),
        },
        {"conffiles": b"/etc/tool.conf\n", "postinst": script, "triggers": b"interest x\n"},
    )
    two = deb(tmp_path, "two", {"./usr/": b"", "./usr/lib/two": b"2"}, Multi_Arch="same")
    changes = tmp_path / "changes.tar"
    changes.write_bytes(tarred({"etc/": b"", "etc/passwd": b"root", "tmp/": b"", "tmp/x": b""}))
    target = io.BytesIO()
    writer = LayerWriter(target)
    debian.add_changes(writer, changes, ["etc/gone"])
    found = tuple(
        hashlib.sha256(gzip.decompress(packed)).hexdigest()[:16]
        for packed in (layer(one, two), (writer.finish(), target.getvalue())[1])
    )
    assert found == UNPACKED[debian.RECIPE], "count RECIPE up, and note these bytes for it"


def test_a_package_under_another_name_is_refused(tmp_path: Path) -> None:
    artifact, _ = deb(tmp_path, "one")
    _, other = deb(tmp_path, "two")
    with pytest.raises(InvalidLock, match=r"one_1_amd64.deb is two 1 for amd64, locked as one 1"):
        layer((artifact, other))


WHOLE = {"./usr/": b"", "./usr/bin/": b"", "./usr/bin/tool": b"x" * 300}


@given(where=st.integers(0, 10**4), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_package_is_refused_or_read(where: int, bit: int, cut: bool) -> None:
    """Whatever comes of it, it is no other error; that the bytes are right is for their hash."""
    with tempfile.TemporaryDirectory() as folder:
        artifact, path = deb(Path(folder), "tool", WHOLE, {"conffiles": b"/etc/tool\n"})
        content = bytearray(path.read_bytes())
        where %= len(content)
        if cut:
            del content[where:]
        else:
            content[where] ^= 1 << bit
        path.write_bytes(content)
        with suppress(InvalidLock):
            layer((artifact, path))
        with suppress(InvalidLock):
            read_package(artifact, path)


@pytest.mark.parametrize(
    "entry",
    [
        {"./../../etc/x": b"x"},
        {"/etc/x": b"x"},
        {"./usr/share/doc/../../../etc/x": b"left out, and noted all the same"},
        {"./etc/.wh.passwd": b""},
        {"./usr/": b"", "./usr/.wh..wh..opq": b""},
        {"./same": (tarfile.LNKTYPE, "../../etc/shadow")},
        {"./etc/two\nlines": b"x"},
    ],
)
def test_a_package_with_a_path_that_no_image_may_have_is_refused_by_name(
    entry: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(InvalidLock, match=r"bad_1_amd64\.deb has a path that no image") as caught:
        layer(deb(tmp_path, "bad", entry))
    assert caught.value.exit_code == 4


def test_a_control_file_outside_of_dpkg_s_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidLock, match="has a path that no image may have"):
        layer(deb(tmp_path, "bad", {}, {"../../../etc/x": b"x"}))


def test_a_trigger_is_not_the_name_of_a_file_elsewhere(tmp_path: Path) -> None:
    """dpkg's lists of triggers are files of their names, which are written on the host."""
    package = read_package(*deb(tmp_path, "bad", {}, {"triggers": b"interest ../../../x\n"}))
    with pytest.raises(UnsafePath, match="is not a file name"):
        dpkg.database([package])


# dpkg's own notes


@pytest.fixture
def packages(tmp_path: Path) -> list[Pair]:
    """What dpkg has something to note of: conffiles, triggers, scripts, Multi-Arch."""
    script = b"#!/bin/sh\nexit 0\n"
    return [
        deb(
            tmp_path,
            "one",
            {"./": b"", "./etc/": b"", "./etc/one.conf": b"a = 1\n", "./usr/": b"",
             "./usr/bin/": b"", "./usr/bin/one": b"1", "./usr/bin/uno": (tarfile.SYMTYPE, "one")},
            {
                "conffiles": b"/etc/one.conf\nremove-on-upgrade /etc/old.conf\n",
                "triggers": b"# who wants what\ninterest-noawait /usr/share/shelf\ninterest one\n"
                            b"interest-await all\n",
                "postinst": script,
                "md5sums": b"c4ca4238a0b923820dcc509a6f75849b  usr/bin/one\n",
            },
            Priority="required",
        ),
        deb(
            tmp_path,
            "libtwo",
            {"./": b"", "./usr/": b"", "./usr/lib/": b"", "./usr/lib/libtwo.so": b"2",
             "./etc/": b"", "./etc/two.conf": b"", "./usr/lib/libtwo.so.0": (tarfile.LNKTYPE,
             "./usr/lib/libtwo.so")},
            {"triggers": b"activate-noawait ldconfig\ninterest /usr/share/other\n"
                         b"interest-noawait all\n", "prerm": script,
             "conffiles": b"/etc/two.conf\n"},
            Multi_Arch="same",
            Depends="one (>= 1)",
        ),
    ]  # fmt: skip


def _unpacked_by_dpkg(packages: list[Pair], root: Path) -> Path:
    """Let the host's dpkg unpack packages into a directory; return its database."""
    database = root / "var/lib/dpkg"
    (database / "info").mkdir(parents=True)
    (database / "updates").mkdir()
    (database / "status").touch()
    paths = [str(path) for _, path in packages]
    subprocess.run(
        ["dpkg", f"--root={root}", "--force-not-root,depends,bad-path,architecture",
         "--log=/dev/null", "--unpack", *paths],
        check=True, capture_output=True, env={**os.environ, "PATH": f"{os.environ['PATH']}:/sbin"},
    )  # fmt: skip
    return database


def _as_sets(status: str) -> set[frozenset[str]]:
    """Return the paragraphs, each as its fields: dpkg puts those in an order of its own."""
    joined = status.replace("\n ", "\0")
    return {frozenset(part.splitlines()) for part in joined.split("\n\n") if part}


needs_dpkg = pytest.mark.skipif(
    shutil.which("dpkg") is None or os.geteuid() != 0, reason="needs dpkg, and root for it"
)


@pytest.mark.starts
@needs_dpkg
def test_what_is_noted_of_packages_is_what_dpkg_notes(packages: list[Pair], tmp_path: Path) -> None:
    theirs = _unpacked_by_dpkg(packages, tmp_path / "root")
    ours = dpkg.database(debian.read_package(*pair) for pair in packages)
    assert _as_sets(ours.pop("status")) == _as_sets((theirs / "status").read_text())
    for path, text in ours.items():
        assert sorted(text.splitlines()) == sorted((theirs / path).read_text().splitlines()), path
    triggers = {path.name for path in (theirs / "triggers").iterdir()} - {"Lock"}
    assert triggers == {p.removeprefix("triggers/") for p in ours if p.startswith("triggers/")}
    info = {
        name.removeprefix(f"{dpkg.INFO}/"): content
        for name, content in contents(layer(*packages)).items()
        if name.startswith(dpkg.INFO)
    }
    found = {p.name: p for p in (theirs / "info").iterdir() if p.name != "format"}
    assert info == {name: path.read_bytes() for name, path in found.items()}
    modes = members(layer(*packages))
    for name, path in found.items():
        assert modes[f"{dpkg.INFO}/{name}"].mode == path.stat().st_mode & 0o777, name


# what configuring changes


def test_nothing_of_the_engine_is_among_the_changes(tmp_path: Path) -> None:
    archive = tmp_path / "changes.tar"
    archive.write_bytes(
        tarred(
            {
                "etc/": b"",
                "etc/hosts": b"127.0.0.1",
                "etc/machine-id": b"0f343b0931126a20f133d67c2b018a3b",
                "etc/passwd": b"root",
                "run/": b"",
                "tmp/": b"",
                "tmp/hsperfdata_root": b"",
                "var/log/dpkg.log": b"today",
            }
        )
    )
    target = io.BytesIO()
    writer = LayerWriter(target)
    debian.add_changes(writer, archive, [])
    writer.finish()
    found = members(target.getvalue())
    assert set(found) == {"etc", "etc/passwd", "run", "tmp"}
    assert {info.mtime for info in found.values()} == {MTIME}


def test_what_is_gone_leaves_its_directory_as_it_is(tmp_path: Path) -> None:
    archive = tmp_path / "changes.tar"
    private, public = (tarfile.DIRTYPE, "0700"), (tarfile.DIRTYPE, "1777")
    archive.write_bytes(
        tarred({"etc/": b"", "etc/ssl/": private, "var/log/": b"", "var/log/toy/": public})
    )
    target = io.BytesIO()
    writer = LayerWriter(target)
    debian.add_changes(writer, archive, ["etc/ssl/key", "var/log/toy/today"])
    writer.finish()
    found = {name: info.mode for name, info in members(target.getvalue()).items()}
    assert found == {
        "etc": 0o755, "etc/ssl": 0o700, "etc/ssl/.wh.key": 0o644, "var/log": 0o755,
        "var/log/toy": 0o1777, "var/log/toy/.wh.today": 0o644,
    }  # fmt: skip
