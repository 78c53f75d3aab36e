"""Reading ELF files as data: what they need, where it is looked for, which GPUs they are for."""

import io
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.validation.programs import check_static, fatbin
from mlruntime.validation.programs.elf import ElfFiles, Library
from mlruntime.validation.programs.fatbin import architectures

pytestmark = [pytest.mark.compiles, pytest.mark.starts]
Compile = Callable[..., Path]


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Return what compiles a shared library with these words for the linker."""

    def run(name: str, *words: str, source: str = "int answer;") -> Path:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [
            "gcc",
            "-x",
            "c",
            "-",
            "-x",
            "none",
            "-shared",
            "-fPIC",
            "-o",
            str(target),
            *words,
        ]
        subprocess.run(command, input=source, text=True, check=True)
        return target

    return run


@pytest.mark.parametrize(
    ("places", "fine"),
    [
        ({"scikit_learn.libs": b"gomp", "xgboost.libs": b"gomp"}, True),
        ({"scikit_learn.libs": b"gomp", "xgboost.libs": b"another"}, False),
        ({"scikit_learn.libs": b"gomp", "xgboost/lib": b"gomp"}, False),
    ],
)
def test_a_library_that_two_wheels_bring_along_is_no_conflict_while_it_is_the_same(
    places: dict[str, bytes], fine: bool, tmp_path: Path
) -> None:
    """scikit-learn and xgboost each have libgomp, under a name with the hash of its content."""
    paths = [tmp_path / place / "libgomp-e985bcbb.so.1.0.0" for place in places]
    for path, content in zip(paths, places.values(), strict=True):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    assert check_static.bundled(paths) is fine


def of(folder: Path) -> dict[str, Library]:
    return {library.path.name: library for library in ElfFiles(folder).libraries}


def test_what_a_library_needs_is_looked_for_where_it_says(
    compiled: Compile, tmp_path: Path
) -> None:
    inner = compiled("lib/libinner.so.1", "-Wl,-soname,libinner.so.1")
    outer = compiled(
        "lib/libouter.so", "-Wl,--no-as-needed", str(inner), "-Wl,-rpath,$ORIGIN/../lib"
    )
    found = of(tmp_path)
    assert found["libinner.so.1"].soname == "libinner.so.1"
    assert found["libouter.so"].soname is None
    assert "libinner.so.1" in found["libouter.so"].needed
    image = ElfFiles(tmp_path)
    assert (
        image.find(found["libouter.so"], "libinner.so.1") == outer.parent / "../lib/libinner.so.1"
    )
    assert image.find(found["libouter.so"], "libc.so.6") is not None
    inner.unlink()
    assert image.find(found["libouter.so"], "libinner.so.1") is None


def test_links_texts_and_cut_off_files_are_no_libraries(compiled: Compile, tmp_path: Path) -> None:
    real = compiled("libreal.so")
    (tmp_path / "liblink.so").symlink_to(real)
    (tmp_path / "libtext.so").write_text("INPUT(libreal.so)")
    (tmp_path / "libcut.so").write_bytes(real.read_bytes()[:100])
    assert list(of(tmp_path)) == ["libreal.so"]


def test_two_copies_of_a_name_are_seen(compiled: Compile, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        compiled(f"{folder}/libcudart.so.12", "-Wl,-soname,libcudart.so.12")
    paths = ElfFiles(tmp_path).by_soname["libcudart.so.12"]
    assert len(check_static.places_of(paths)) == 2


def test_what_comes_in_one_folder_of_a_wheel_is_loaded_together(
    compiled: Compile, tmp_path: Path
) -> None:
    inner = compiled("h5py.libs/libsz.so", "-Wl,-soname,libsz.so")
    compiled("h5py.libs/libhdf5.so", "-Wl,--no-as-needed", str(inner))
    compiled("other/libhdf6.so", "-Wl,--no-as-needed", str(inner))
    image = ElfFiles(tmp_path)
    found = of(tmp_path)
    assert check_static.resolves(image, found["libhdf5.so"], "libsz.so")
    assert not check_static.resolves(image, found["libhdf6.so"], "libsz.so")
    assert check_static.resolves(image, found["libhdf6.so"], "libcuda.so.1")


Entry = tuple[int, int, int]  # kind, architecture, size of the payload


def binary(entries: list[Entry]) -> bytes:
    """Return one fat binary; payloads are zeros."""
    body = b"".join(
        struct.pack("<HHIQIIHHI", kind, 0x101, 64, size, 0, 0, 0, 0, number) + bytes(32 + size)
        for kind, number, size in entries
    )
    found = struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body
    return found + bytes(-len(found) % 8)


KINDS = {1: "ptx", 2: "sass"}
entry = st.tuples(
    st.sampled_from(sorted(KINDS)),
    st.sampled_from([50, 60, 70, 75, 80, 86, 89, 90, 100, 103, 120]),
    st.integers(0, 200),
)


@given(st.lists(st.lists(entry, max_size=4), max_size=4))
def test_every_entry_of_every_fat_binary_counts(binaries: list[list[Entry]]) -> None:
    section = b"".join(binary(entries) for entries in binaries)
    path = Path("memory")
    with _in_memory(section) as file:
        found = set(fatbin.entries(file, 0, len(section), path))
    assert found == {
        (kind, f"{number // 10}.{number % 10}")
        for entries in binaries
        for kind, number, _ in entries
    }


def _in_memory(content: bytes) -> io.BytesIO:
    return io.BytesIO(content)


def test_a_section_of_a_library_is_read(compiled: Compile, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(binary([(2, 80, 40), (2, 90, 8), (1, 90, 16)]) + binary([(2, 75, 0)]))
    source = f'__asm__(".section .nv_fatbin,\\"a\\"\\n.incbin \\"{data}\\"\\n.previous");'
    found = architectures(compiled("libgpu.so", source=source))
    assert found.sass == {"7.5", "8.0", "9.0"}
    assert found.ptx == {"9.0"}
    assert not architectures(compiled("libcpu.so")).sass


@pytest.mark.parametrize("content", [b"no fat binary at all....", binary([(2, 7, 0)])])
def test_what_is_not_understood_is_not_taken_for_nothing(content: bytes) -> None:
    with _in_memory(content) as file, pytest.raises(ValueError, match="memory"):
        list(fatbin.entries(file, 0, len(content), Path("memory")))


@pytest.mark.parametrize(
    ("want", "ptx", "good"),
    [
        ("9.0", {"9.0"}, True),
        ("10.0", {"9.0"}, True),
        ("9.0", {"8.0"}, True),
        ("8.9", {"9.0"}, False),
        ("9.0", set(), False),
    ],
)
def test_ptx_is_compiled_for_later_gpus_only(want: str, ptx: set[str], good: bool) -> None:
    assert check_static.compiles(want, frozenset(ptx)) is good


@pytest.mark.parametrize(
    ("want", "sass", "runs"),
    [
        ("8.0", {"8.0"}, True),
        ("8.9", {"8.0"}, True),
        ("8.0", {"8.6"}, False),
        ("9.0", {"8.0", "8.9"}, False),
        ("7.5", {"7.0"}, True),
        ("10.0", {"1.0"}, False),
    ],
)
def test_machine_code_runs_on_its_major_and_later_minors(
    want: str, sass: set[str], runs: bool
) -> None:
    assert check_static.runs(want, frozenset(sass)) is runs
