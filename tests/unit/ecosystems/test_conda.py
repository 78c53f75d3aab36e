"""Conda packages in a prefix: what rattler installs, we install, byte for byte; nothing outside."""

import asyncio
import bz2
import hashlib
import io
import json
import os
import shutil
import tarfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import rattler
from hypothesis import given, settings
from hypothesis import strategies as st
from mlruntime.ecosystems.conda.archive import stem
from mlruntime.ecosystems.conda.ecosystem import Conda
from mlruntime.ecosystems.conda.prefix import PrefixTooLong, replaced, started
from mlruntime.ecosystems.directory import DirectorySink
from mlruntime.ecosystems.place import Place, image_place
from mlruntime.errors import InvalidLock
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.packages import Artifact

from tests.unit.channels import PLACEHOLDER, Member, Package, write_channel

STRING = f"\x7fELF{PLACEHOLDER}/lib/toy\0{PLACEHOLDER}:{PLACEHOLDER}/x\0end".encode()
PYTHON = Package(
    name="python",
    version="3.11.9",
    build="h1_0_cpython",
    files={
        "bin/python3.11": Member(content=b"#!/bin/sh\nexec /usr/bin/env true\n", executable=True),
        "bin/python": Member(target="python3.11"),
        "lib/python3.11/os.py": Member(content=b"# os\n"),
    },
)
NATIVE = Package(
    name="toylib",
    build="h0_0",
    depends=("__glibc >=2.17",),
    files={
        "lib/libtoy.so.1": Member(content=STRING, executable=True, mode="binary"),
        "lib/libtoy.so": Member(target="libtoy.so.1"),
        "etc/toy.conf": Member(content=f"home={PLACEHOLDER}/share\n".encode(), mode="text"),
        "bin/toy-run": Member(
            content=f"#!{PLACEHOLDER}/bin/python -u\nprint(1)\n".encode(),
            executable=True,
            mode="text",
        ),
        "share/plain.txt": Member(content=b"plain\n"),
        "share/same.txt": Member(target="share/plain.txt", hard=True),
        "share/ünï code.txt": Member(content=b"u"),
    },
)
OLD = Package(name="oldlib", ending=".tar.bz2", files=NATIVE.files | {}, build="h9_1")
PURE = Package(
    name="toy",
    version="2.0",
    build="pyh1_0",
    noarch="python",
    depends=("python >=3.8", "toylib"),
    entry_points=("toy = toy.cli:main",),
    files={
        "site-packages/toy/__init__.py": Member(),
        "site-packages/toy/cli.py": Member(content=b"def main():\n    return 0\n"),
        "site-packages/toy-2.0.dist-info/METADATA": Member(content=b"Name: toy\n"),
        "python-scripts/toy-old": Member(
            content=f"#!{PLACEHOLDER}/bin/python\n".encode(), executable=True, mode="text"
        ),
    },
)
EVERYTHING = [PYTHON, NATIVE, PURE]


def artifact(package: Package, content: bytes) -> Artifact:
    return Artifact(
        kind="conda",
        name=package.name,
        version=package.version,
        filename=package.filename,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        origin=f"conda:{package.subdir}:toys",
    )


def put(folder: Path, package: Package, content: bytes | None = None) -> tuple[Artifact, Path]:
    content = package.bytes() if content is None else content
    path = folder / package.filename
    path.write_bytes(content)
    return artifact(package, content), path


def place_at(root: Path) -> Place:
    return Place(prefix="", interpreter="", python="3.11", root=str(root), conda="env")


def install(root: Path, packages: list[tuple[Artifact, Path]]) -> None:
    root.mkdir(exist_ok=True)
    with DirectorySink(root) as sink:
        Conda().install(sink, place_at(root), packages)


def listed(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.startswith(("conda-meta", "CACHEDIR")) or "__pycache__" in name or path.is_dir():
            continue
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            # rattler indents what it writes itself with tabs, conda and we with spaces.
            text = path.read_bytes().replace(b"\t", b"    ")
            found[name] = (text, bool(path.stat().st_mode & 0o100))
    return found


@pytest.mark.parametrize("native", [NATIVE, OLD], ids=["conda", "tar.bz2"])
def test_what_rattler_installs_we_install(tmp_path: Path, native: Package) -> None:
    packages = [PYTHON, native, PURE]
    channel = write_channel(tmp_path / "channel", packages)
    root = tmp_path / "root"
    records = [
        record
        for subdir in ("linux-64", "noarch")
        for record in rattler.SparseRepoData(
            rattler.Channel(channel.as_uri()), subdir, channel / subdir / "repodata.json"
        ).load_all_records()
    ]
    asyncio.run(
        rattler.install(records, root / "env", cache_dir=tmp_path / "cache", show_progress=False)
    )
    theirs = listed(root / "env")
    assert len(theirs) >= 15
    shutil.rmtree(root)
    folder = tmp_path / "files"
    folder.mkdir()
    install(root, [put(folder, package) for package in packages])
    assert listed(root / "env") == theirs
    # conda's own tools know what is there.
    notes = [rattler.PrefixRecord.from_path(p) for p in (root / "env/conda-meta").glob("*.json")]
    assert sorted(note.name.normalized for note in notes) == sorted(p.name for p in packages)


def test_a_layer_has_the_same_bytes_whatever_is_around(tmp_path: Path) -> None:
    digests = set()
    for number, umask in enumerate((0o022, 0o077)):
        folder = tmp_path / str(number)
        folder.mkdir()
        files = [put(folder, package) for package in EVERYTHING]
        before = os.umask(umask)
        try:
            target = io.BytesIO()
            layer = LayerWriter(target)
            Conda().install(layer, image_place("3.11"), files)
            digests.add(layer.finish().digest)
        finally:
            os.umask(before)
        with tarfile.open(fileobj=io.BytesIO(target.getvalue()), mode="r:gz") as archive:
            names = set(archive.getnames())
            same = archive.getmember("opt/conda/share/same.txt")
            assert same.islnk()
            assert same.linkname == "opt/conda/share/plain.txt"
            script = archive.extractfile("opt/conda/bin/toy-run")
            assert script is not None
            assert script.read().startswith(b"#!/opt/conda/bin/python -u\n")
    assert "opt/conda/lib/python3.11/site-packages/toy/cli.py" in names
    assert "opt/conda/bin/toy" in names
    assert len(digests) == 1


def test_a_text_and_a_binary_with_a_prefix() -> None:
    old, new = PLACEHOLDER, "/p"
    text = replaced(f"#!{old}/bin/python\n{old}".encode(), old, new, binary=False)
    assert text == b"#!/p/bin/python\n/p"
    found = replaced(STRING, old, new, binary=True)
    assert len(found) == len(STRING)
    assert found.startswith(b"\x7fELF/p/lib/toy\0")
    assert b"/p:/p/x\0" in found
    assert found.endswith(b"\0end")
    with pytest.raises(PrefixTooLong, match="longer than"):
        replaced(STRING, old, "/" + "x" * 300, binary=True)


def test_a_long_first_line_finds_its_program_by_env() -> None:
    long = b"#!/" + b"x" * 130 + b"/bin/python -O\nx"
    assert started(long) == b"#!/usr/bin/env python -O\nx"
    assert started(b"#!/usr/bin/python\n") == b"#!/usr/bin/python\n"


@given(content=st.binary(max_size=2000), new=st.text(alphabet="/ab", min_size=1, max_size=40))
def test_a_binary_keeps_its_length(content: bytes, new: str) -> None:
    old = "/" + "p" * 39
    mixed = content[:1000] + old.encode() + content[1000:] + old.encode() + b"\0"
    assert len(replaced(mixed, old, new, binary=True)) == len(mixed)


LINK_OUT = {"x": Member(target="../../outside")}


@pytest.mark.parametrize(
    ("package", "why"),
    [
        (Package(name="bad", files=LINK_OUT), "leaves the prefix"),
        (Package(name="bad", files={"x": Member(target="/etc/passwd")}), "leaves the prefix"),
        (Package(name="bad", files={"../x": Member(content=b"1")}), "it has '..'"),
        (Package(name="bad", files={"/x": Member(content=b"1")}), "it is absolute"),
        (Package(name="bad", info={"index.json": b"-"}), "no info/index.json"),
        (Package(name="bad", info={"index.json": b"{"}), "info/index.json: "),
        (Package(name="bad", info={"paths.json": b'{"paths": [], "paths_version": 2}'}), "paths"),
        (Package(name="bad", info={"paths.json": b"[" * 100_000}), "info/paths.json: "),
        (
            Package(name="bad", noarch="python", entry_points=("x = y:z; import os",)),
            "an entry point cannot be read",
        ),
        (
            Package(
                name="bad",
                files={"x": Member(content=b"1")},
                info={"paths.json": b'{"paths_version": 1, "paths": [{"_path": "y"}]}'},
            ),
            "y is listed in info/, and is not there",
        ),
        (
            Package(
                name="bad",
                files={"x": Member(content=b"1")},
                info={
                    "paths.json": b'{"paths_version": 1, "paths": [{"_path": "x", "sha256": "0"}]}'
                },
            ),
            "not the file that info/paths.json tells of",
        ),
        (
            Package(
                name="bad",
                files={"x": Member(content=b"1")},
                info={
                    "paths.json": b'{"paths_version":1,"paths":[{"_path":"x","size_in_bytes":9}]}'
                },
            ),
            "x has 1 bytes, 9 are listed",
        ),
    ],
    ids=lambda value: None if isinstance(value, Package) else value,
)
@pytest.mark.parametrize("ending", [".conda", ".tar.bz2"])
def test_a_broken_package_is_refused_by_name(
    tmp_path: Path, package: Package, why: str, ending: str
) -> None:
    file = put(tmp_path, replace(package, ending=ending))
    with pytest.raises(InvalidLock, match=r"bad-1\.0-0") as caught:
        install(tmp_path / "root", [file])
    assert why in str(caught.value.why)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted((file[1].name, "root"))


def test_a_file_of_two_packages_is_there_once_if_it_is_the_same(tmp_path: Path) -> None:
    def one(name: str, content: bytes) -> tuple[Artifact, Path]:
        return put(tmp_path, Package(name=name, files={"share/x": Member(content=content)}))

    install(tmp_path / "root", [one("a", b"1"), one("b", b"1")])
    with pytest.raises(InvalidLock) as caught:
        install(tmp_path / "other", [one("c", b"1"), one("d", b"2")])
    assert "env/share/x is also in c-1.0-0.conda, with different content" in str(caught.value.why)


def test_packages_from_before_paths_json(tmp_path: Path) -> None:
    old = Package(
        name="old",
        ending=".tar.bz2",
        files={
            "etc/new.conf": Member(content=f"a={PLACEHOLDER}".encode()),
            "etc/first.conf": Member(content=b"a=/opt/anaconda1anaconda2anaconda3"),
            "etc/plain": Member(content=b"x"),
        },
        info={
            "paths.json": b"-",
            "has_prefix": f'"{PLACEHOLDER}" text "etc/new.conf"\netc/first.conf\n'.encode(),
        },
    )
    root = tmp_path / "root"
    install(root, [put(tmp_path, old)])
    assert (root / "env/etc/new.conf").read_text() == f"a={root}/env"
    assert (root / "env/etc/first.conf").read_text() == f"a={root}/env"


@settings(deadline=None)
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), old=st.booleans())
def test_a_damaged_archive_is_refused_or_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, old: bool
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    package = OLD if old else NATIVE
    content = bytearray(package.bytes())
    content[at % len(content)] = byte
    file = put(folder, package, bytes(content))
    try:
        install(folder / "root", [file])
    except InvalidLock as error:
        assert package.filename in error.what
    assert sorted(p.name for p in folder.iterdir()) == sorted([package.filename, "root"])


@settings(deadline=None)
@given(content=st.binary(max_size=300), old=st.booleans())
def test_noise_is_no_package(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, old: bool
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    package = OLD if old else NATIVE
    with pytest.raises(InvalidLock):
        install(folder / "root", [put(folder, package, content)])


NAMES = st.text(alphabet="ab./\0é\n", min_size=1, max_size=12)
TARGETS = st.text(alphabet="ab./", min_size=1, max_size=12)


@settings(deadline=None)
@given(
    files=st.dictionaries(
        NAMES,
        st.one_of(
            st.binary(max_size=4).map(lambda content: Member(content=content)),
            TARGETS.map(lambda target: Member(target=target)),
        ),
        max_size=4,
    ),
    prefixed=st.booleans(),
)
def test_no_path_leads_outside(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, Member], prefixed: bool
) -> None:
    files = {f"{'site-packages/' if prefixed else ''}{n}": m for n, m in files.items()}
    files = {name: member for name, member in files.items() if "\0" not in name}
    noarch = "python" if prefixed else ""
    package = Package(name="odd", files=files, noarch=noarch, ending=".tar.bz2")
    folder = tmp_path_factory.mktemp("odd")
    with suppress(InvalidLock):
        install(folder / "root", [put(folder, package)])
    assert {p.name for p in folder.iterdir()} == {package.filename, "root"}
    assert {p.name for p in (folder / "root").iterdir()} <= {"env"}
    for path in (folder / "root").rglob("*"):
        if path.is_symlink():
            # Not Path.resolve(), which raises for a link to itself.
            assert Path(os.path.realpath(path)).is_relative_to(folder / "root")


def test_an_archive_cannot_ask_for_all_memory(tmp_path: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 32
    content = bz2.compress(header.tobuf() + bytes(1 << 20))
    package = Package(name="bomb", ending=".tar.bz2")
    with pytest.raises(InvalidLock) as caught:
        install(tmp_path / "root", [put(tmp_path, package, content)])
    assert "bytes in memory" in str(caught.value.why)


def test_only_conda_s_file_names_are_packages() -> None:
    assert stem("a-b-1.0-h1_0.conda") == "a-b-1.0-h1_0"
    for name in ("a-1.0.conda", "a-1-0.zip", "x"):
        with pytest.raises(InvalidLock, match="is not a conda package"):
            stem(name)


def test_run_exports_and_link_scripts_do_nothing(tmp_path: Path) -> None:
    package = Package(
        name="exporting",
        files={
            "bin/.exporting-post-link.sh": Member(content=b"touch $PREFIX/ran\n", executable=True)
        },
        info={"run_exports.json": json.dumps({"weak": ["nothing >=9"]}).encode()},
    )
    install(tmp_path / "root", [put(tmp_path, package)])
    assert not (tmp_path / "root/env/ran").exists()
