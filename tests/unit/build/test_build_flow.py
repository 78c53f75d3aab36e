"""The build stage on a toy plan: files, a jar and a library, without engine and network."""

import _thread
import hashlib
import json
import multiprocessing
import os
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from mlruntime.build.context import BuildContext
from mlruntime.build.integrity import blame_damage
from mlruntime.build.maker import LayerMaker, cached_layer
from mlruntime.build.stage import build
from mlruntime.build.supplies import BuildSupplies
from mlruntime.ecosystems.pypi import bytecode
from mlruntime.engine import Running
from mlruntime.engine.docker.engine import DockerEngine
from mlruntime.errors import (
    ArtifactNotFound,
    CommandFailed,
    Damaged,
    HashMismatch,
    InvalidLock,
    StorageError,
    Unavailable,
)
from mlruntime.host.command import run
from mlruntime.host.tasks import TaskGroup
from mlruntime.image.config import ImageConfig
from mlruntime.image.image import Image
from mlruntime.image.plan import Plan, plan
from mlruntime.image.sources.debian import DebianPackages
from mlruntime.image.sources.literal import LiteralFiles
from mlruntime.image.sources.model import PlannedLayer, Supplies, Tools
from mlruntime.image.sources.python import PythonPackages
from mlruntime.image.stack import parse_stack
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.model import Lock, Variant
from mlruntime.lock.packages import Artifact, NativeWheel
from mlruntime.store.store import Store, file_sha256

from tests.unit.debs import deb
from tests.unit.wheels import made_wheel

SPAWN = multiprocessing.get_context("spawn")
SECONDS = 60
JAR = b"PK not really a jar" * 1000
STACK = """\
layers:
  - {name: settings, source: files, files: settings, links: {etc/link: settings}}
  - {name: jars, source: jars, into: opt/jars}
  - {name: toy, source: library, library: toy}
config: {user: "1000:1000", workdir: /, entrypoint: [tini], command: [sh], environment: {}}
"""
FILES = {
    "layers.yaml": STACK.encode(),
    "rootfs/settings/etc/settings": b"a = 1\n",
    "toy/toy/__init__.py": b"answer = 42\n",
}
FILE_OF = {"settings": "rootfs/settings/etc/settings", "toy": "toy/toy/__init__.py"}
ARTIFACT = Artifact(
    kind="jar",
    name="g:toy",
    version="1",
    filename="toy-1.jar",
    size=len(JAR),
    sha256=hashlib.sha256(JAR).hexdigest(),
    origin="maven",
)
LOCK = Lock(
    runtime="0.1-ml",
    inputs=(),
    snapshot="2026-11-20T00:00:00Z",
    components=(("python", "3.11"),),
    omitted=(),
    os=(),
    build_depends=(),
    python=(),
    jars=(ARTIFACT,),
    variants=(Variant(name="cpu", python=(), native=()),),
)


def toy(**changed: bytes) -> Plan:
    """Return the plan with other content for a layer's file."""
    files = FILES | {FILE_OF[layer]: content for layer, content in changed.items()}
    stack = parse_stack(STACK, file="layers.yaml")
    return plan(
        LOCK,
        "cpu",
        stack,
        files,
        tools=Tools(
            unpacking="u", configuring="b", configuring_more="m", bytecode="c", native=lambda _: "n"
        ),
        version="1",
    )


def no_engine() -> NoReturn:
    raise AssertionError("an engine was asked for")


class Registry:
    """Brings the jar, and counts how often it was asked for anything."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.asked = 0

    def fetch(self, artifacts: Iterable[Artifact]) -> Mapping[str, Path]:
        self.asked += 1
        found = {}
        for artifact in artifacts:
            with self.store.scratch() as scratch:
                (scratch / "jar").write_bytes(JAR)
                path = self.store.adopt_blob(scratch / "jar", artifact.sha256)
            found[artifact.sha256] = path
        return found


def context(root: Path, say: Callable[[str], None] = lambda _: None) -> BuildContext:
    registry = Registry(root)
    return BuildContext(
        store=registry.store, fetch=registry.fetch, engine=no_engine, say=say, images=FILES
    )


def made(root: Path, of: Plan | None = None, shop: BuildContext | None = None) -> Image:
    return build(
        of or toy(),
        LOCK,
        shop or context(root),
        reference="toy:1",
        created="2026-11-20T00:00:00Z",
    )


def cached(image: Image) -> dict[str, bool]:
    return {layer.name: layer.cached for layer in image.layers}


def consistent(root: Path) -> None:
    """Assert that the store holds whole blobs and nothing else but locks."""
    for path in (root / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert not list((root / "tmp").iterdir())


def test_the_second_build_takes_everything_from_the_store(tmp_path: Path) -> None:
    first = made(tmp_path)
    assert cached(first) == {"settings": False, "jars": False, "toy": False}
    shop = context(tmp_path)
    second = made(tmp_path, shop=shop)
    assert cached(second) == {"settings": True, "jars": True, "toy": True}
    assert second.manifest == first.manifest
    assert shop.fetch.__self__.asked == 0  # type: ignore[attr-defined]
    consistent(tmp_path)


def test_builds_in_two_stores_are_the_same_bytes(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one"), made(tmp_path / "two")
    labels = json.loads(one.config.content)["config"]["Labels"]
    assert labels["io.mlruntime.plan.digest"] == toy().digest
    assert one.manifest == two.manifest
    assert one.config == two.config


@pytest.mark.parametrize("layer", ["settings", "toy"])
def test_one_changed_file_rewrites_one_layer(layer: str, tmp_path: Path) -> None:
    before = made(tmp_path)
    after = made(tmp_path, toy(**{layer: b"changed\n"}))
    assert {name for name, was in cached(after).items() if not was} == {layer}
    assert before.manifest != after.manifest


@pytest.mark.parametrize("damage", ["lost", "cut", "record"])
def test_what_a_crash_took_from_a_layer_is_made_again(damage: str, tmp_path: Path) -> None:
    first, store = made(tmp_path), Store(tmp_path)
    layer = toy().layers[2]
    blob = store.blob(first.layers[2].blob.digest.partition(":")[2])
    record = store.record("layers", layer.key)
    assert blob is not None
    assert record is not None
    if damage == "lost":
        blob.unlink()
    elif damage == "cut":
        blob.write_bytes(b"")
    else:
        record.write_bytes(b"")
    assert cached_layer(store, layer) is None
    again = made(tmp_path)
    assert cached(again) == {"settings": True, "jars": True, "toy": False}
    assert again.manifest == first.manifest
    consistent(tmp_path)


def test_threads_that_build_the_same_at_once_make_it_once(tmp_path: Path) -> None:
    said: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        images = list(
            pool.map(lambda _: made(tmp_path, shop=context(tmp_path, said.append)), range(4))
        )
    assert len({image.manifest for image in images}) == 1
    assert sorted(said) == ["layer jars", "layer settings", "layer toy"]
    consistent(tmp_path)


def _build_and_tell(root: Path, answers: Any) -> None:
    said: list[str] = []
    image = made(root, shop=context(root, said.append))
    answers.put((image.manifest.digest, said))


@pytest.mark.starts
def test_processes_that_build_the_same_at_once_make_it_once(tmp_path: Path) -> None:
    answers = SPAWN.Queue()
    processes = [SPAWN.Process(target=_build_and_tell, args=(tmp_path, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    told = [answers.get(timeout=SECONDS) for _ in processes]
    for process in processes:
        process.join(SECONDS)
    answers.close()
    answers.join_thread()
    assert {digest for digest, _ in told} == {made(tmp_path).manifest.digest}
    assert sorted(line for _, said in told for line in said) == [
        "layer jars",
        "layer settings",
        "layer toy",
    ]
    consistent(tmp_path)


# failures and interrupts in the middle


def _interrupted_at(monkeypatch: pytest.MonkeyPatch, problem: BaseException) -> None:
    """Let the second file that is written fail."""
    data = LayerWriter.data
    left = [1]

    def failing(self: LayerWriter, path: str, content: bytes, *, executable: bool = False) -> None:
        if not left:
            raise problem
        left.pop()
        data(self, path, content, executable=executable)

    monkeypatch.setattr(LayerWriter, "data", failing)


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), OSError(28, "no space"), ValueError()])
def test_a_build_that_breaks_off_leaves_whole_things_and_the_next_completes(
    problem: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _interrupted_at(patch, problem)
        expected = StorageError if isinstance(problem, OSError) else type(problem)
        with pytest.raises(expected):
            made(tmp_path)
    consistent(tmp_path)
    assert made(tmp_path).manifest == made(tmp_path / "other").manifest
    consistent(tmp_path)


class Made(LiteralFiles):
    """Content that a test writes: no files of its own, and never empty."""

    __slots__ = ("written_by",)

    def __init__(self, written_by: Callable[[LayerWriter], None]) -> None:
        super().__init__(files=())
        object.__setattr__(self, "written_by", written_by)

    @property
    def empty(self) -> bool:
        return False

    def write(self, layer: LayerWriter, supplies: Supplies) -> None:
        self.written_by(layer)


def with_layer(content: Made) -> Plan:
    """Return the toy plan with one more layer."""
    of = toy()
    return replace(
        of, layers=(*of.layers, PlannedLayer(name="made", key="m" * 64, content=content))
    )


def endless(ended: list[BaseException], begun: Callable[[], None]) -> Made:
    """Return content that never ends by itself; ``begun`` is called once some of it is there."""

    def write(layer: LayerWriter) -> None:
        try:
            for number in range(1 << 30):
                layer.data(f"file{number}", bytes(1 << 20))
                if number == 1:
                    begun()
        except BaseException as error:
            ended.append(error)
            raise

    return Made(write)


def test_an_interrupt_stops_layers_that_are_being_written(tmp_path: Path) -> None:
    """The main thread gets Ctrl-C while a layer has gigabytes to go."""
    ended: list[BaseException] = []
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, with_layer(endless(ended, _thread.interrupt_main)))
    assert [type(error) for error in ended] == [CommandFailed]
    made(tmp_path)
    consistent(tmp_path)


def test_a_layer_that_fails_ends_the_others_at_once(tmp_path: Path) -> None:
    """Also while bytecode is compiled, or a layer has gigabytes to go."""
    begun, ended = threading.Event(), list[BaseException]()
    of = with_layer(endless(ended, begun.set))

    def fail(layer: LayerWriter) -> None:
        assert begun.wait(SECONDS)
        raise InvalidLock("what is in it is no use")

    broken = PlannedLayer(name="broken", key="b" * 64, content=Made(fail))
    with pytest.raises(InvalidLock, match="no use"):
        made(tmp_path, replace(of, layers=(*of.layers, broken)))
    assert [type(error) for error in ended] == [CommandFailed]


def with_python(shop: BuildContext, folder: Path) -> tuple[PlannedLayer, dict[str, Path]]:
    """Return a layer with the interpreter, and its package in the store: bytecode needs one."""
    artifact, package = deb(folder, "python3.11", {"./usr/bin/python3.11": b"x"})
    path = shop.store.keep_blob(package, artifact.sha256)
    layer = PlannedLayer(name="os", key="o" * 64, content=DebianPackages(packages=(artifact,)))
    return layer, {artifact.sha256: path}


def test_a_file_that_is_gone_from_its_registry_is_told_with_the_day_it_was_last_seen(
    tmp_path: Path,
) -> None:
    def gone(_: object) -> NoReturn:
        raise ArtifactNotFound("toy-1.jar is not in the registry", where="maven", hint="lock again")

    with pytest.raises(ArtifactNotFound) as caught:
        made(tmp_path, shop=replace(context(tmp_path), fetch=gone))
    assert str(caught.value) == (
        "maven: toy-1.jar is not in the registry\n"
        "  why: it was there when 0.1-ml was locked, on 2026-11-20 or later, and has been removed"
        " since; or this host asks another registry\n"
        "  try: lock again"
    )


def python_layers(folder: Path, shop: BuildContext, **content: str) -> list[PlannedLayer]:
    """Return a layer for each wheel, all of which have the same file; the store has them."""
    layers = []
    for name, text in content.items():
        path = made_wheel(folder, name, {"shared/x.py": text})
        sha256 = file_sha256(path)
        shop.store.keep_blob(path, sha256)
        wheel = replace(ARTIFACT, kind="wheel", name=name, filename=path.name, sha256=sha256)
        layers.append(PlannedLayer(name=name, key=sha256, content=PythonPackages(wheels=(wheel,))))
    return layers


def with_stored_wheels(shop: BuildContext) -> BuildContext:
    def stored(artifacts: Iterable[Artifact]) -> dict[str, Path]:
        found = {a.sha256: shop.store.blob(a.sha256) for a in artifacts}
        return {sha256: path for sha256, path in found.items() if path}

    return replace(shop, fetch=stored)


def test_wheels_of_two_layers_with_one_file_are_refused_before_anything_is_compiled(
    tmp_path: Path,
) -> None:
    """Also when both layers are there already, from two images that had one of them each."""
    shop = with_stored_wheels(context(tmp_path))
    layers = python_layers(tmp_path, shop, a="1\n", b="2\n")
    why = "shared/x.py is also in a-1-py3-none-any.whl, with different content"
    for _ in range(2):
        with pytest.raises(
            InvalidLock, match=r"b-1-py3-none-any\.whl cannot be installed"
        ) as caught:
            made(tmp_path, replace(toy(), layers=tuple(layers)), shop)
        assert str(caught.value.why).endswith(why)
        for layer in layers:  # as if made long ago
            blob = made(tmp_path).layers[0].blob
            shop.store.write_record("layers", layer.key, json.dumps(asdict(blob)))
    assert all(cached_layer(shop.store, layer) for layer in layers)


def test_wheels_of_two_layers_with_the_same_file_are_compared_once(tmp_path: Path) -> None:
    shop = with_stored_wheels(context(tmp_path))
    layers = python_layers(tmp_path, shop, a="1\n", b="1\n")
    of = replace(toy(), layers=tuple(layers))
    blob = made(tmp_path).layers[0].blob
    for layer in layers:
        shop.store.write_record("layers", layer.key, json.dumps(asdict(blob)))
    made(tmp_path, of, shop)

    def gone(_: object) -> NoReturn:
        raise AssertionError("the wheels were read again")

    made(tmp_path, of, replace(shop, fetch=gone))


def test_bytecode_that_still_compiles_does_not_hide_a_layer_that_failed(tmp_path: Path) -> None:
    """Its container is told to end; before, it was waited for."""
    shop, compiling = context(tmp_path), threading.Event()
    (path,) = shop.fetch([ARTIFACT]).values()
    wheel = replace(ARTIFACT, kind="wheel", name="toy", filename="toy-1-py3-none-any.whl")
    packages = PlannedLayer(name="python", key="p" * 64, content=PythonPackages(wheels=(wheel,)))
    system, interpreter = with_python(shop, tmp_path)

    def compiler() -> NoReturn:
        compiling.set()
        assert shop.stop.wait(SECONDS)
        raise CommandFailed("python3.11 was interrupted")

    def fail(layer: LayerWriter) -> None:
        assert compiling.wait(SECONDS)
        raise InvalidLock("what is in it is no use")

    broken = PlannedLayer(name="broken", key="b" * 64, content=Made(fail))
    files = {wheel.sha256: path, **interpreter}
    shop = replace(shop, fetch=lambda _: files, engine=compiler)
    with pytest.raises(InvalidLock, match="no use"):
        made(tmp_path, replace(toy(), layers=(system, packages, broken)), shop)


def test_a_jar_that_lies_is_told_and_nothing_is_made_of_it(tmp_path: Path) -> None:
    shop = context(tmp_path)

    def fetch(artifacts: Iterable[Artifact]) -> Mapping[str, Path]:
        raise HashMismatch("toy-1.jar is not the file that was locked")

    with pytest.raises(HashMismatch):
        made(tmp_path, shop=replace(shop, fetch=fetch))
    assert not (tmp_path / "layers").exists()


def rot(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_jar_that_rotted_in_the_store_is_told_and_fetched_anew(tmp_path: Path) -> None:
    first = made(tmp_path / "whole")
    shop = context(tmp_path)
    (path,) = shop.fetch([ARTIFACT]).values()
    rot(path)
    stored = replace(shop, fetch=lambda _: {ARTIFACT.sha256: path})
    with pytest.raises(Damaged, match=r"toy-1\.jar: damaged in the store"):
        made(tmp_path, shop=stored)
    assert made(tmp_path).manifest == first.manifest
    consistent(tmp_path)


def test_a_package_that_rotted_in_the_store_is_told_before_it_is_read(tmp_path: Path) -> None:
    artifact, package = deb(tmp_path, "tool", {"./usr/bin/tool": b"x" * 5000})
    shop = context(tmp_path / "store")
    path = shop.store.keep_blob(package, artifact.sha256)
    layer = PlannedLayer(name="os", key="k", content=DebianPackages(packages=(artifact,)))
    of = replace(toy(), layers=(layer,))
    stored = replace(shop, fetch=lambda _: {artifact.sha256: path})
    rot(path)
    with pytest.raises(Damaged, match=rf"{artifact.filename}: damaged in the store"):
        made(tmp_path / "store", of, stored)
    assert shop.store.blob(artifact.sha256) is None


@pytest.mark.parametrize("whole", [True, False])
def test_a_build_that_fails_over_a_wheel_that_rotted_names_it(tmp_path: Path, whole: bool) -> None:
    """Else the compiler's word would stand."""
    shop = context(tmp_path)
    (path,) = shop.fetch([ARTIFACT]).values()
    wheel = replace(ARTIFACT, kind="wheel", name="toy", filename="toy-1-py3-none-any.whl")
    packages = PlannedLayer(name="python", key="k", content=PythonPackages(wheels=(wheel,)))
    system, interpreter = with_python(shop, tmp_path)

    def compiler() -> NoReturn:
        raise CommandFailed("bytecode could not be compiled")

    if not whole:
        rot(path)
    files = {wheel.sha256: path, **interpreter}
    shop = replace(shop, fetch=lambda _: files, engine=compiler)
    said = "bytecode could not be compiled" if whole else f"{wheel.filename}: damaged in the store"
    with pytest.raises(CommandFailed if whole else Damaged, match=said):
        made(tmp_path, replace(toy(), layers=(system, packages)), shop)
    assert (shop.store.blob(wheel.sha256) == path) is whole


def test_what_a_program_said_about_a_file_that_rotted_is_not_believed(tmp_path: Path) -> None:
    shop = context(tmp_path)
    (path,) = shop.fetch([ARTIFACT]).values()
    names, said = {ARTIFACT.sha256: "toy-1.jar"}, CommandFailed("could not be compiled")
    blame_damage(said, shop.store, names, "python")  # it is whole: the program was right
    rot(path)
    blame_damage(Unavailable("no engine"), shop.store, names, "python")
    with pytest.raises(Damaged, match=r"toy-1\.jar: damaged in the store"):
        blame_damage(said, shop.store, names, "python")
    assert shop.store.blob(ARTIFACT.sha256) is None
    blame_damage(said, shop.store, names, "python")  # gone is not damaged


@pytest.mark.parametrize("cut", [0, 40])
def test_bytecode_that_rotted_is_removed(tmp_path: Path, cut: int) -> None:
    store = Store(tmp_path)
    record = store.write_record("bytecode", bytecode.key("0" * 64, "python"), "")
    with zipfile.ZipFile(record, "w") as archive:
        archive.writestr("toy.pyc", b"code" * 100)
    names, said = {"0" * 64: "toy-1-py3-none-any.whl"}, ValueError("bad marshal data")
    blame_damage(said, store, names, "python")
    content = record.read_bytes()
    record.write_bytes(content[:-cut] if cut else content.replace(b"codecode", b"codecold", 1))
    with pytest.raises(Damaged, match=r"the bytecode of toy-1-py3-none-any\.whl: damaged"):
        blame_damage(said, store, names, "python")
    assert not record.exists()


def test_a_package_that_is_none_is_told_and_kept(tmp_path: Path) -> None:
    artifact, package = deb(tmp_path, "tool")
    package.write_bytes(package.read_bytes()[:-40])
    artifact = replace(artifact, sha256=hashlib.sha256(package.read_bytes()).hexdigest())
    shop = context(tmp_path / "store")
    path = shop.store.keep_blob(package, artifact.sha256)
    layer = PlannedLayer(name="os", key="k", content=DebianPackages(packages=(artifact,)))
    of = replace(toy(), layers=(layer,))
    stored = replace(shop, fetch=lambda _: {artifact.sha256: path})
    with pytest.raises(InvalidLock, match=f"{artifact.filename} is not a Debian package"):
        made(tmp_path / "store", of, stored)
    assert shop.store.blob(artifact.sha256) == path


def asked_twice(root: Path, content: Made) -> list[Any]:
    """Let two threads of one build want the same layer at once; return what they got."""
    layer = PlannedLayer(name="made", key="m" * 64, content=content)
    shop = context(root)
    maker = LayerMaker(shop, BuildSupplies(toy(), LOCK, shop))
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(maker.layer, layer) for _ in range(2)]
        wait(jobs, timeout=SECONDS)
    return [job.exception() or job.result() for job in jobs]


def test_a_layer_that_two_threads_want_is_made_once_and_is_new_to_both(tmp_path: Path) -> None:
    written: list[str] = []

    def write(layer: LayerWriter) -> None:
        time.sleep(0.1)  # long enough for the other thread to ask
        written.append("once")
        layer.data("x", b"x")

    first, second = asked_twice(tmp_path, Made(write))
    assert first is second
    assert not first.cached
    assert written == ["once"]


def test_who_waits_for_a_layer_hears_that_it_failed(tmp_path: Path) -> None:
    written: list[str] = []

    def fail(_: LayerWriter) -> NoReturn:
        time.sleep(0.1)
        written.append("once")
        raise OSError("no such luck")

    found = asked_twice(tmp_path, Made(fail))
    assert [str(one) for one in found] == ["no such luck"] * 2
    assert written == ["once"]


# what ends what runs elsewhere


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_a_patient_crew_gives_way_and_nobody_else_does() -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = priority()
    with TaskGroup(1, lambda: None, nice=5) as crew:
        job = crew.submit(priority)
    assert job.result() == 5
    assert priority() == before


def test_a_crew_drops_what_waits_and_ends_what_runs() -> None:
    stop, begun = threading.Event(), threading.Event()
    done: list[str] = []

    def long(name: str) -> None:
        begun.set()
        assert stop.wait(SECONDS)
        done.append(name)

    with pytest.raises(KeyboardInterrupt), TaskGroup(1, stop.set) as crew:
        first, second = crew.submit(long, "first"), crew.submit(long, "second")
        assert begun.wait(SECONDS)
        raise KeyboardInterrupt
    assert first.done()
    assert second.cancelled()
    assert done == ["first"]


def test_a_crew_does_not_wait_for_ever() -> None:
    stalled = threading.Event()
    with pytest.raises(ValueError, match="x"), TaskGroup(1, lambda: None, grace=0.01) as crew:
        job = crew.submit(stalled.wait, SECONDS)
        raise ValueError("x")
    assert not job.done()
    stalled.set()


@pytest.mark.starts
def test_a_tool_that_takes_too_long_ends_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlruntime.host.command.GRACE_SECONDS", 0.1)
    alive = tmp_path / "alive"
    # Neither heeds SIGTERM; the grandchild holds the pipe open.
    script = f"trap '' TERM; (trap '' TERM; echo $$ > {alive}; sleep 600) & sleep 600"
    with pytest.raises(CommandFailed, match="sh did not end within"):
        run(["sh", "-c", script], timeout=2)
    group = alive.read_text().strip()
    # Who is nobody's child any more takes a moment to be gone after SIGKILL.
    deadline = time.monotonic() + SECONDS
    while left := [p for p in Path("/proc").glob("[0-9]*") if _group(p) == group]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def _group(process: Path) -> str | None:
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[2]


@pytest.mark.starts
def test_a_tool_gets_its_input() -> None:
    assert run(["cat"], stdin="word", timeout=SECONDS) == "word"


class Api:
    """An engine's API with one container that runs until it is killed."""

    def __init__(self) -> None:
        self.killed, self.following = threading.Event(), threading.Event()
        self.removed: list[str] = []

    def create_host_config(self, **_: Any) -> None: ...

    def create_container(self, *_: Any, **__: Any) -> None: ...

    def start(self, name: str) -> None: ...

    def logs(self, name: str, **_: Any) -> Iterable[bytes]:
        yield b"compiling\n"
        self.following.set()
        assert self.killed.wait(SECONDS)

    def kill(self, name: str) -> None:
        self.killed.set()

    def wait(self, name: str, timeout: None) -> dict[str, int]:
        return {"StatusCode": 137}

    def remove_container(self, name: str, **_: Any) -> None:
        self.removed.append(name)


def test_an_interrupted_native_build_ends_and_its_container_goes() -> None:
    api = Api()
    engine = Running(lambda: DockerEngine(api, api))
    with pytest.raises(KeyboardInterrupt), TaskGroup(1, engine.abort) as crew:
        job = crew.submit(engine.run, "image", ["sh"], name="mlr-test", timeout=3600)
        assert api.following.wait(SECONDS)
        raise KeyboardInterrupt
    with pytest.raises(CommandFailed, match="sh was interrupted"):
        job.result()
    assert api.removed == ["mlr-test"]
    with pytest.raises(CommandFailed, match="sh was interrupted"):
        engine.run("image", ["sh"], name="mlr-late")
    assert api.removed == ["mlr-test", "mlr-late"]


def test_a_native_wheel_is_built_without_the_entry_point_of_a_later_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = NativeWheel(
        name="toy",
        version="1",
        python="3.11",
        sdist=replace(ARTIFACT, kind="sdist", name="toy"),
        link_against=(),
        requirements=(),
        environment=(),
        patches=(),
        base="",
        build_depends="",
    )
    lock = replace(LOCK, jars=(), variants=(Variant(name="cpu", python=(), native=(wheel,)),))
    layers = 'layers:\n  - {name: wheels, source: python, packages: ["*"]}\n'
    stack = parse_stack(STACK.replace("layers:\n", layers, 1), file="layers.yaml")
    tools = Tools(
        unpacking="u", configuring="b", configuring_more="m", bytecode="c", native=lambda _: "n"
    )
    planned = plan(lock, "cpu", stack, FILES, tools=tools, version="1")
    assert planned.config.entrypoint == ("tini",)
    staged: list[ImageConfig] = []

    class StagedError(Exception): ...

    def noted(_: BuildContext, layers: object, config: ImageConfig) -> str:
        staged.append(config)
        raise StagedError

    monkeypatch.setattr(BuildContext, "stage", noted)
    with pytest.raises(StagedError):
        build(planned, lock, context(tmp_path), reference="toy:1", created="1980-01-01T00:00:00Z")
    assert [config.entrypoint for config in staged] == [()]


def test_an_interrupt_ends_what_one_build_runs_and_not_what_the_next_one_does(
    tmp_path: Path,
) -> None:
    """``matrix explore`` has one connection for the builds of all combinations."""
    api = Api()
    api.killed.set()  # nothing is waited for
    engine = DockerEngine(api, api)
    first, second = (
        replace(context(tmp_path), engine=lambda: engine)  # type: ignore[arg-type, return-value]
        for _ in range(2)
    )
    first.abort()
    with pytest.raises(CommandFailed, match="sh was interrupted"):
        first.running.run("image", ["sh"], name="mlr-one")
    assert second.running.run("image", ["sh"], name="mlr-two").exit_code == 137
    assert api.removed == ["mlr-one", "mlr-two"]
