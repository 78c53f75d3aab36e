"""A native build that cannot be: the reason in words, the log in the store."""

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlruntime.ecosystems.native.build import build
from mlruntime.engine import RunResult
from mlruntime.engine.archives import reader
from mlruntime.errors import CommandFailed, InvalidLock
from mlruntime.lock.packages import Artifact, NativeWheel
from mlruntime.store.store import Store

from tests.unit.ecosystems.test_patching import diff, sdist

GOOD = diff("a\n", "b\n", "x").encode()


class Engine:
    """Says a line and leaves a wheel of some name in the folder for results."""

    def get(self, path: str) -> Iterator[bytes]:
        """Be the container that has ended."""
        assert path == "/mlr/out"
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            folder = tarfile.TarInfo("out")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            wheel = tarfile.TarInfo(f"out/{self.wheel}")
            wheel.type, wheel.linkname = self.kind, self.link
            wheel.size = 5 if self.kind == tarfile.REGTYPE else 0
            tar.addfile(wheel, io.BytesIO(b"wheel"))
        yield buffer.getvalue()

    def __init__(self, wheel: str, code: int = 0) -> None:
        self.wheel, self.code, self.asked = wheel, code, 0
        self.command: Any = None
        self.given: dict[str, bytes] = {}
        self.kind, self.link = tarfile.REGTYPE, ""

    def run(
        self,
        image: str,
        command: Any,
        *,
        on_line: Callable[[str], None],
        on_end: Callable[[Any], None],
        contents: Any,
        **_: Any,
    ) -> RunResult:
        self.asked += 1
        self.command = command
        (archive,) = contents
        with tarfile.open(fileobj=reader(archive()), mode="r|") as tar:
            self.given = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]
        on_line("compiling")
        if self.code == 0:
            on_end(self)
        return RunResult(exit_code=self.code, tail="compiling\nx.cc:1: no such thing")


def attempt(
    root: Path,
    engine: Engine,
    patch: bytes = GOOD,
    locked: bytes | None = None,
    script: bytes | None = None,
    content: bytes | None = None,
) -> Any:
    content = sdist(x="a\n") if content is None else content
    source = root / "toy-1.tar.gz"
    source.write_bytes(content)
    artifact = Artifact(
        kind="sdist",
        name="toy",
        version="1",
        filename="toy-1.tar.gz",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        origin="pypi",
    )
    native = NativeWheel(
        name="toy",
        version="1+mlr.1",
        python="3.11",
        sdist=artifact,
        link_against=(),
        requirements=(),
        environment=(),
        patches=(("1.patch", hashlib.sha256(locked or patch).hexdigest()),),
        base="sha256:1",
        build_depends="sha256:1",
        prepare=("kit.sh", hashlib.sha256(b"true\n").hexdigest()) if script else None,
        build_depends_unpacked=(artifact,) if script else (),
    )
    return build(
        Store(root / "store"),
        engine,  # type: ignore[arg-type]
        "image",
        native,
        files={artifact.sha256: source},
        build_depends=(),
        beside={"1.patch": patch, "kit.sh": script or b""},
        on_line=lambda line: None,
    )


def log_of(error: CommandFailed) -> str:
    assert error.hint is not None and error.hint.startswith("the whole log: ")
    return Path(error.hint.removeprefix("the whole log: ")).read_text(encoding="utf-8")


def test_a_patch_that_does_not_apply_is_named_and_nothing_is_compiled(tmp_path: Path) -> None:
    engine = Engine("toy-1+mlr.1-py3-none-any.whl")
    with pytest.raises(CommandFailed) as caught:
        attempt(tmp_path, engine, diff("c\n", "b\n", "x").encode())
    said = "1.patch does not apply: hunk 1 of x: line 1 should be 'c', the file has 'a'"
    assert caught.value.why == said
    assert said in log_of(caught.value)
    assert engine.asked == 0
    with tarfile.open(tmp_path / "toy-1.tar.gz") as untouched:
        assert untouched.extractfile("toy-1/x").read() == b"a\n"  # type: ignore[union-attr]


@pytest.mark.parametrize("content", [b"", b"<html>", sdist(x="a\n" * 9000)[:-40], bytes(10240)])
def test_an_sdist_that_is_no_archive(tmp_path: Path, content: bytes) -> None:
    engine = Engine("toy-1+mlr.1-py3-none-any.whl")
    with pytest.raises(InvalidLock, match=r"toy-1\.tar\.gz is not a source archive") as caught:
        attempt(tmp_path, engine, content=content)
    assert caught.value.why
    assert engine.asked == 0


def test_what_fails_to_compile_leaves_its_whole_log(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        attempt(tmp_path, Engine("toy-1+mlr.1-py3-none-any.whl", code=2))
    assert "x.cc:1: no such thing" in str(caught.value)
    assert log_of(caught.value).startswith("1.patch: 1 files\ncompiling\n")


def test_a_wheel_of_another_version_is_not_kept(tmp_path: Path) -> None:
    """A local version label that the patches forgot."""
    with pytest.raises(CommandFailed, match="could not be built") as caught:
        attempt(tmp_path, Engine("toy-1-py3-none-any.whl"))
    assert caught.value.why == "the build made toy-1-py3-none-any.whl"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_only_a_regular_file_is_taken_from_a_build(tmp_path: Path, kind: bytes) -> None:
    """Else the file of this host that a link names would be taken for the wheel."""
    secret = tmp_path / "secret"
    secret.write_text("mine")
    engine = Engine("toy-1+mlr.1-py3-none-any.whl")
    engine.kind, engine.link = kind, str(secret) if kind == tarfile.SYMTYPE else ""
    with pytest.raises(CommandFailed, match="could not be built") as caught:
        attempt(tmp_path, engine)
    assert caught.value.why == (
        "a container left out/toy-1+mlr.1-py3-none-any.whl, which is no regular file"
    )
    assert "compiling" in log_of(caught.value)


def test_a_patch_that_is_not_the_locked_one(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"1\.patch is not the locked one"):
        attempt(tmp_path, Engine("toy-1+mlr.1-py3-none-any.whl"), locked=b"other")


def test_a_script_prepares_the_build_and_is_the_locked_one(tmp_path: Path) -> None:
    engine = Engine("toy-1+mlr.1-py3-none-any.whl")
    attempt(tmp_path, engine, script=b"true\n")
    steps = [engine.command[2].index(w) for w in ("dpkg-deb -x", "sh /mlr/prepare", "pip wheel")]
    assert steps == sorted(steps)
    assert engine.given["mlr/prepare"] == b"true\n"
    assert "mlr/unpacked/toy-1.tar.gz" in engine.given
    attempt(tmp_path, engine)
    assert "prepare" not in engine.command[2]
    assert engine.asked == 2  # another recipe, another wheel
    with pytest.raises(CommandFailed, match=r"kit\.sh is not the locked one"):
        attempt(tmp_path, engine, GOOD + b" ", script=b"false\n")


def test_a_patched_wheel_is_kept_and_found_again(tmp_path: Path) -> None:
    engine = Engine("toy-1+mlr.1-py3-none-any.whl")
    first = attempt(tmp_path, engine)
    assert attempt(tmp_path, engine) == first
    assert (first.filename, engine.asked) == ("toy-1+mlr.1-py3-none-any.whl", 1)
