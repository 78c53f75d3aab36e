"""Environments: made of a lock's files, all or nothing, and with the image's own settings."""

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlruntime.environment import linking
from mlruntime.environment.contents import contents
from mlruntime.environment.creation import Order, beside, create
from mlruntime.environment.description import FORMAT, Description, read_description, read_files
from mlruntime.environment.host import refuse_host, refuse_target
from mlruntime.environment.interpreter import Interpreter, find_interpreter
from mlruntime.environment.layout import NOTES
from mlruntime.environment.linking import COPY, LINK, Linker
from mlruntime.environment.personal import fish_script, posix_script
from mlruntime.environment.repairing import change, remove, repair
from mlruntime.environment.settings import Variables
from mlruntime.environment.trees import KIND
from mlruntime.environment.using import changing
from mlruntime.environment.verification import differences
from mlruntime.errors import (
    Damaged,
    InvalidLock,
    MlruntimeError,
    StorageError,
    Unavailable,
    UsageError,
)
from mlruntime.host.system import System
from mlruntime.image.plan import Plan, plan
from mlruntime.image.sources.model import Tools
from mlruntime.image.stack import parse_stack
from mlruntime.lock.model import Lock, Variant
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store
from mlruntime.workflows.environment.known import (
    described,
    forget_environment,
    known_environments,
    remember_environment,
)
from mlruntime.workflows.environment.managing import Prepared, prepare
from mlruntime.workflows.host import Host

from tests.unit.debs import deb
from tests.unit.wheels import made_wheel

JVM = "usr/lib/jvm/java-17-openjdk-amd64"
STACK = """\
layers:
  - {name: os, source: debian, packages: ["*"]}
  - {name: configured, source: configured}
  - name: environment
    source: files
    files: environment
    links:
      opt/ml/bin/python: /usr/bin/python{{ python.minor }}
      opt/ml/bin/python3: python
      opt/spark: /{{ site_packages }}/pyspark
  - {name: python, source: python, packages: ["*"]}
  - {name: cudnn, source: python, packages: [nvidia-cudnn], linked: nvidia/*/lib}
  - {name: jars, source: jars, into: "{{ site_packages }}/pyspark/jars"}
  - {name: settings, source: files, files: settings, executable: [opt/ml/bin/discover]}
config:
  user: "1000:1000"
  workdir: /home/ml
  entrypoint: [tini]
  command: [bash]
  environment:
    HOME: /home/ml
    PATH: /opt/ml/bin:/opt/spark/bin:/usr/bin
    VIRTUAL_ENV: /opt/ml
    SPARK_HOME: /opt/spark
    SPARK_CONF_DIR: /etc/spark
    JAVA_HOME: /usr/lib/jvm/java-17-openjdk-amd64
"""
FILES = {
    "layers.yaml": STACK.encode(),
    "rootfs/environment/opt/ml/pyvenv.cfg.j2": b"version = {{ python.full }}\n",
    "rootfs/settings/etc/spark/spark-defaults.conf.j2": b"# {{ runtime }}\nspark.x 1\n",
    "rootfs/settings/etc/nsswitch.conf": b"of the image's system",
    "rootfs/settings/opt/entrypoint.sh": b"of a container",
    "rootfs/settings/opt/ml/bin/discover": b"#!/opt/ml/bin/python\nprint('here')\n",
}
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
SITE = f"lib/python{PYTHON}/site-packages"


class World:
    """A lock of real files, a store, and a host that fetches them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.store = Store(folder / "store")
        self.said: list[str] = []
        source = folder / "registry"
        source.mkdir()
        toy = made_wheel(
            source,
            "toy",
            {"toy.py": "answer = 42\ndef main(): print(answer)\n"},
            entry_points="[console_scripts]\ntoy = toy:main\n",
        )
        spark = made_wheel(source, "pyspark", {"pyspark/__init__.py": "", "pyspark/bin/x": "x"})
        cudnn = made_wheel(source, "nvidia_cudnn", {"nvidia/cudnn/lib/libcudnn.so.9": "cudnn"})
        self.wheels = tuple(self.artifact_of("wheel", "pypi", path) for path in (toy, spark, cudnn))
        jar = source / "graph-1.jar"
        jar.write_bytes(b"a jar")
        self.jar = self.artifact_of("jar", "maven", jar)
        java = deb(
            source,
            "openjdk-17-jre-headless",
            {
                f"./{JVM}/bin/java": b"#!/bin/sh\n",
                f"./{JVM}/conf/net.properties": (b"2", "/etc/java-17-openjdk/net.properties"),
                f"./{JVM}/lib/security/cacerts": (b"2", "/etc/ssl/certs/java/cacerts"),
                "./etc/java-17-openjdk/net.properties": b"java.net.x=1\n",
                "./usr/share/man/man1/java.1": b"not kept",
            },
        )
        blas = deb(
            source,
            "libopenblas0-serial",
            {"./usr/lib/x86_64-linux-gnu/openblas-serial/libblas.so.3": b"blas"},
        )
        certificates = deb(
            source,
            "ca-certificates",
            {
                "./usr/share/ca-certificates/mozilla/Root.crt": b"-----BEGIN CERTIFICATE-----\n"
                b"AAEC\n-----END CERTIFICATE-----\n"
            },
        )
        shell = deb(source, "bash", {"./bin/bash": b"the image's own"})
        self.system = tuple(replace(a, origin="debian:x:pool") for a, _ in
                            (java, blas, certificates, shell))  # fmt: skip
        paths = [path for _, path in (java, blas, certificates, shell)]
        self.registry = {a.sha256: source / a.filename for a in (*self.wheels, self.jar)}
        self.registry |= {a.sha256: p for a, p in zip(self.system, paths, strict=True)}

    @staticmethod
    def artifact_of(kind: str, origin: str, path: Path) -> Artifact:
        content = path.read_bytes()
        return Artifact(
            kind=kind,
            name=path.name.split("-")[0].replace("_", "-"),
            version="1",
            filename=path.name,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            origin=origin,
        )

    @property
    def lock(self) -> Lock:
        return Lock(
            runtime="9.0-ml",
            inputs=(),
            snapshot="2026-01-01T00:00:00Z",
            components=(("python", f"{PYTHON}.0"), ("java", "17")),
            omitted=(),
            os=self.system,
            build_depends=(),
            python=self.wheels,
            jars=(self.jar,),
            variants=(Variant(name="cpu", contract=None, components=(), python=(), native=()),),
        )

    @property
    def plan(self) -> Plan:
        stack = parse_stack(STACK, file="images/layers.yaml")
        tools = Tools(
            unpacking="u", configuring="b", configuring_more="m", bytecode="c", native=lambda _: "n"
        )
        return plan(self.lock, "cpu", stack, FILES, tools=tools, version="1")

    def fetch(self, artifacts: Iterable[Artifact]) -> Mapping[str, Path]:
        found = {}
        for artifact in artifacts:
            path = self.store.partial(artifact.sha256)
            path.write_bytes(self.registry[artifact.sha256].read_bytes())
            found[artifact.sha256] = self.store.adopt_blob(path, artifact.sha256)
        return found

    @property
    def host(self) -> Host:
        def nothing() -> None:
            raise AssertionError("an environment needs neither an engine nor registries")

        return Host(
            store=self.store,
            fetch=self.fetch,
            registries=nothing,  # type: ignore[arg-type]
            engine=nothing,  # type: ignore[arg-type]
            say=self.said.append,
        )

    def prepared(self) -> Prepared:
        return prepare(self.plan, self.lock, self.host)

    def create(
        self, target: Path, linker: Linker | None = None, found: Prepared | None = None
    ) -> Description:
        return create(self.order(target, found), target, linker or Linker())

    def order(self, target: Path, found: Prepared | None = None) -> Order:
        found = found or self.prepared()
        return Order(
            materials=found.materials,
            interpreter=Interpreter(executable=Path(sys.executable).resolve(), version=PYTHON),
            variables=found.variables,
            lock=self.lock.to_json(),
            description=Description(
                format=FORMAT,
                runtime="9.0-ml",
                variant="cpu",
                lock=self.lock.digest,
                plan=found.plan.digest,
                python=PYTHON,
                interpreter=sys.executable,
                path=str(target),
                glibc=found.materials.glibc,
                made={},
                variables=dict(found.variables.set),
                folders={n: list(v) for n, v in found.variables.extended.items()},
            ),
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world")


def below(root: Path) -> set[str]:
    found = (p for p in root.rglob("*") if p.is_symlink() or not p.is_dir())
    return {p.relative_to(root).as_posix() for p in found}


def test_it_has_what_the_image_has_above_its_system(world: World, tmp_path: Path) -> None:
    root = tmp_path / "an environment with ünïcode"
    world.create(root)
    found = below(root)
    assert {
        f"{SITE}/toy.py",
        f"{SITE}/pyspark/jars/graph-1.jar",
        "bin/toy",
        "bin/discover",
        f"{JVM}/bin/java",
        "etc/java-17-openjdk/net.properties",
        "etc/spark/spark-defaults.conf",
        "etc/ssl/certs/java/cacerts",
        "usr/lib/x86_64-linux-gnu/openblas-serial/libblas.so.3",
    } <= found
    others = ("nsswitch", "entrypoint", "bash", "dpkg", "man1", "ca-certificates/")
    assert not [p for p in found if any(other in p for other in others)]
    assert (root / "etc/spark/spark-defaults.conf").read_text() == "# 9.0-ml\nspark.x 1\n"
    assert (root / "usr/lib/x86_64-linux-gnu/libcudnn.so.9").read_text() == "cudnn"


def test_no_link_leads_out_of_it_but_that_to_python(world: World, tmp_path: Path) -> None:
    root = tmp_path / "ml"
    world.create(root)
    moved = root.rename(tmp_path / "moved")
    for path in moved.rglob("*"):
        if path.is_symlink() and path.name != "python":
            target = path.readlink()
            assert not target.is_absolute() and path.exists(), path
            assert path.resolve().is_relative_to(moved) or path.name.startswith("python"), path
    assert (moved / JVM / "conf/net.properties").read_text() == "java.net.x=1\n"


@pytest.mark.starts
@pytest.mark.parametrize("name", ["ml", "with space", "ünï"])
def test_its_scripts_run_wherever_it_is_moved(world: World, tmp_path: Path, name: str) -> None:
    world.create(tmp_path / "first")
    root = (tmp_path / "first").rename(tmp_path / name)
    (tmp_path / "link").symlink_to(root / "bin" / "toy")
    for script, said in (("bin/toy", "42"), ("bin/discover", "here"), ("../link", "42")):
        done = subprocess.run([root / script], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == said


def test_its_variables_are_those_of_the_image(world: World, tmp_path: Path) -> None:
    root = tmp_path / "ml"
    world.create(root)
    found = read_description(root).settings(root).applied({"PATH": "/bin", "PYTHONPATH": "/x"})
    assert found == {
        "VIRTUAL_ENV": str(root),
        "SPARK_HOME": f"{root}/opt/spark",
        "SPARK_CONF_DIR": f"{root}/etc/spark",
        "JAVA_HOME": f"{root}/{JVM}",
        "PATH": f"{root}/bin:{root}/opt/spark/bin:{root}/{JVM}/bin:/bin",
        "LD_LIBRARY_PATH": f"{root}/usr/lib/x86_64-linux-gnu/openblas-serial"
        f":{root}/usr/lib/x86_64-linux-gnu",
    }


def shell(name: str) -> Any:
    missing = shutil.which(name) is None
    return pytest.param(name, marks=pytest.mark.skipif(missing, reason=f"{name} is not installed"))


@pytest.mark.starts
@pytest.mark.parametrize("name", [shell(name) for name in ("sh", "bash", "zsh", "fish")])
@pytest.mark.parametrize("before", [{}, {"LD_LIBRARY_PATH": "/x:/y z", "SPARK_HOME": "it's mine"}])
def test_activating_and_deactivating_leaves_nothing(
    world: World, tmp_path: Path, before: dict[str, str], name: str
) -> None:
    root = tmp_path / "it's $HOME"
    world.create(root)
    given = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **before}
    shown = "env | grep -v '^_=' | grep -v '^PWD=' | grep -v '^SHLVL=' | grep -v '^OLDPWD=' | sort"
    out = tmp_path / "out"
    if name == "fish":
        files = ("$argv[1]", "$argv[2]")
        words = [name, "--no-config", "-c"]
        arguments = [str(out), str(root / "bin/activate.fish")]
    else:
        files = ("$1", "$2")
        words = [name, *(["--no-rcs"] if name == "zsh" else []), "-c"]
        arguments = [name, str(out), str(root / "bin/activate")]
    to, script = files
    program = f'{shown} >"{to}.1"; . "{script}"; {shown} >"{to}.2"; . "{script}"; deactivate; '
    program += f'{shown} >"{to}.3"'
    subprocess.run([*words, program, *arguments], env=given, check=True)
    first, active, last = (Path(f"{out}.{n}").read_text() for n in (1, 2, 3))
    assert first == last
    wanted = read_description(root).settings(root).applied(given)
    own = set(first.splitlines()) - {f"{name}={value}" for name, value in given.items()}
    assert set(active.splitlines()) - own == {f"{n}={value}" for n, value in wanted.items()}


def test_every_shell_gets_the_same_words_quoted() -> None:
    found = Variables(set={"A": "it's"}, extended={"PATH": ("/a b",), "L": ("/c",)})
    assert "export A='it'\"'\"'s'" in posix_script(found)
    fish = fish_script(found)
    assert "set -gx A 'it\\'s'" in fish
    assert "set -gx PATH '/a b' $PATH" in fish


def test_files_are_shared_with_the_store_and_cannot_be_written_to(
    world: World, tmp_path: Path
) -> None:
    made = world.create(tmp_path / "a", Linker((LINK, COPY)))
    world.create(tmp_path / "b", Linker((LINK, COPY)))
    assert set(made.made) == {LINK}
    first, second = (tmp_path / name / SITE / "toy.py" for name in "ab")
    assert first.samefile(second)
    assert not stat.S_IMODE(first.stat().st_mode) & 0o222


def test_what_was_written_through_a_link_is_unpacked_anew(world: World, tmp_path: Path) -> None:
    world.create(tmp_path / "a", Linker((LINK, COPY)))
    written = tmp_path / "a" / SITE / "toy.py"
    written.chmod(0o644)
    written.write_text("answer = 43\n" + "#" * 27 + "\n")
    world.create(tmp_path / "b")
    assert "answer = 42" in (tmp_path / "b" / SITE / "toy.py").read_text()


def test_a_file_system_without_links_gets_copies(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(linking.os, "link", refused)
    made = world.create(tmp_path / "ml", Linker((LINK, COPY)))
    assert set(made.made) == {COPY}
    assert (tmp_path / "ml" / SITE / "toy.py").read_text().startswith("answer = 42")
    assert os.access(tmp_path / "ml" / "bin" / "toy", os.X_OK)


def test_two_packages_with_one_file_are_refused(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    other = made_wheel(folder, "other", {"toy.py": "answer = 7\n"})
    artifact = World.artifact_of("wheel", "pypi", other)
    world.wheels = (*world.wheels, artifact)
    world.registry[artifact.sha256] = other
    with pytest.raises(InvalidLock, match="cannot be installed") as caught:
        world.create(tmp_path / "ml")
    assert (
        caught.value.why
        == f"{SITE}/toy.py is also in other-1-py3-none-any.whl, with different content"
    )
    assert not (tmp_path / "ml").exists()


def test_a_package_that_rots_is_told_and_removed(world: World, tmp_path: Path) -> None:
    sha256 = world.wheels[0].sha256
    files = dict(world.fetch(contents(world.plan, world.lock).artifacts))
    files[sha256].write_bytes(b"rotten")
    host = replace(world.host, fetch=lambda _: files)
    with pytest.raises(Damaged, match=r"toy-1-py3-none-any\.whl: damaged in the store"):
        prepare(world.plan, world.lock, host)
    assert world.store.blob(sha256) is None


def test_a_path_with_something_else_is_left_alone(world: World, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("mine", "file", "dangling"):
        with pytest.raises(UsageError, match="this exists, and is no environment"):
            refuse_target(tmp_path / name, is_environment=False)
    with pytest.raises(UsageError, match="there is an environment already"):
        refuse_target(tmp_path / "mine", is_environment=True)
    with pytest.raises(UsageError, match="no directory"):
        refuse_target(tmp_path / "file" / "ml", is_environment=False)
    with pytest.raises(UsageError, match="colon"):
        refuse_target(tmp_path / "a:b", is_environment=False)
    refuse_target(tmp_path / "free", is_environment=False)


def test_a_file_system_that_takes_no_directories_is_told() -> None:
    with (
        pytest.raises(StorageError, match="cannot make a directory here"),
        beside(Path("/proc/ml")),
    ):
        pytest.fail("it was made")


@pytest.mark.parametrize(
    ("system", "what"),
    [
        (System(machine="aarch64", glibc="2.36"), "this host's processor is aarch64"),
        (System(machine="x86_64", glibc=""), "this host's C library is not glibc"),
        (System(machine="x86_64", glibc="2.9"), "this host's glibc is 2.9"),
    ],
)
def test_a_host_that_cannot_run_it_is_told_so(system: System, what: str) -> None:
    with pytest.raises(Unavailable, match=what):
        refuse_host(system, "2.34")
    refuse_host(System(machine="x86_64", glibc="2.34"), "2.34")


def test_two_at_once_make_one(world: World, tmp_path: Path) -> None:
    found = world.prepared()
    outcomes: list[object] = []

    def make() -> None:
        try:
            outcomes.append(world.create(tmp_path / "ml", found=found))
        except MlruntimeError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(o).__name__ for o in outcomes) == ["Description", "UsageError"]
    assert (tmp_path / "ml" / SITE / "toy.py").is_file()
    assert {p.name for p in tmp_path.iterdir()} == {"ml", "world"}


@pytest.mark.starts
def test_what_a_killed_run_leaves_is_removed_by_the_next(world: World, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from mlruntime.environment.creation import beside\n"
        "with beside(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').write_text('')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "ml")])
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "ml").exists()
    assert list(tmp_path.glob(".ml.creating-*/half"))
    world.create(tmp_path / "ml")
    assert {p.name for p in tmp_path.iterdir()} == {"ml", "world"}


def test_the_list_of_files_is_of_all_that_packages_bring(world: World, tmp_path: Path) -> None:
    root = tmp_path / "ml"
    world.create(root)
    listed = {entry.path for entry in read_files(root)}
    own = {"bin/python", "bin/activate", "bin/activate.fish", "pyvenv.cfg", "pip.conf"}
    assert below(root) - listed == own | {".mlruntime/environment.json", ".mlruntime/files.json"}
    assert listed <= below(root)


def test_trees_are_in_the_store_once(world: World, tmp_path: Path) -> None:
    world.create(tmp_path / "a")
    before = {p.name: p.stat().st_mtime_ns for p in (world.store.root / KIND).iterdir()}
    world.create(tmp_path / "b")
    assert before == {p.name: p.stat().st_mtime_ns for p in (world.store.root / KIND).iterdir()}
    assert len(before) == 7


def fake_python(folder: Path, **answers: object) -> Path:
    """Write a program that answers like a Python."""
    answer: dict[str, object] = {
        "executable": str(folder / "python9.9"),
        "minor": "9.9",
        "version": "9.9.1",
        "kind": "cpython",
        "machine": "x86_64",
        "bits": 64,
        "libc": "glibc",
        "threads": False,
        "missing": [],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "python9.9"
    path.write_text(f"#!/bin/sh\ncat <<'E'\n{json.dumps(answer | answers)}\nE\n")
    path.chmod(0o755)
    return path


@pytest.mark.starts
@pytest.mark.parametrize(
    "folder", ["bin", ".pyenv/versions/9.9.1/bin", ".local/share/uv/python/cpython-9.9.1/bin"]
)
def test_a_python_is_found_where_people_keep_theirs(tmp_path: Path, folder: str) -> None:
    wanted = fake_python(tmp_path / folder)
    environ = {"PATH": str(tmp_path / "bin")}
    found = find_interpreter("9.9", environ, home=tmp_path)
    assert (found.executable, found.version, found.minor) == (wanted, "9.9.1", "9.9")


@pytest.mark.starts
@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"minor": "9.8", "version": "9.8.2"}, "it is cpython 9.8.2, 64 bits"),
        ({"kind": "pypy"}, "it is pypy 9.9.1"),
        ({"libc": ""}, "with another C library than glibc"),
        ({"threads": True}, "free-threaded"),
        ({"missing": ["ssl", "lzma"]}, "compiled without ssl, lzma"),
    ],
)
def test_a_python_that_will_not_do_is_told(
    tmp_path: Path, answers: dict[str, object], why: str
) -> None:
    path = fake_python(tmp_path / "bin", **answers)
    with pytest.raises(Unavailable, match=r"there is no Python 9\.9 on this host") as caught:
        find_interpreter("9.9", {"PATH": str(tmp_path / "bin")}, home=tmp_path)
    assert why in str(caught.value.why)
    assert "`uv python install 9.9`" in str(caught.value.hint)
    with pytest.raises(Unavailable, match=r"is not a Python 9\.9 that can be used"):
        find_interpreter("9.9", {}, home=tmp_path, given=path)


@pytest.mark.starts
def test_a_python_that_does_not_start_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "a" / "python9.9"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    wanted = fake_python(tmp_path / "b")
    environ = {"PATH": f"{tmp_path}/a:{tmp_path}/b"}
    assert find_interpreter("9.9", environ, home=tmp_path).executable == wanted


def spoilt(root: Path) -> None:
    """Change, remove and add something in an environment."""
    toy = root / SITE / "toy.py"
    content = toy.read_bytes()
    toy.unlink()
    toy.write_bytes(content.replace(b"42", b"43"))
    (root / "opt" / "spark").unlink()
    (root / JVM / "bin" / "java").unlink()
    (root / JVM / "bin").rmdir()
    (root / "bin" / "toy").chmod(0o644)
    (root / "thesis.txt").write_text("years of work")
    (root / SITE / "__pycache__").mkdir()
    (root / SITE / "__pycache__" / "toy.cpython-311.pyc").write_bytes(b"")


@pytest.mark.parametrize("quick", [False, True])
def test_what_is_not_as_it_was_made_is_found(world: World, tmp_path: Path, *, quick: bool) -> None:
    root = tmp_path / "ml"
    world.create(root, Linker((COPY,)))
    assert differences(root, read_files(root), quick=quick).damaged == ()
    spoilt(root)
    found = differences(root, read_files(root), quick=quick)
    assert found.added == ("thesis.txt",)
    assert found.changed == ("bin/toy", f"{SITE}/toy.py")
    assert found.removed == ("opt/spark", f"{JVM}/bin/java")


def test_what_is_not_as_it_was_made_is_put_back(world: World, tmp_path: Path) -> None:
    root = tmp_path / "ml"
    world.create(root, Linker((COPY,)))
    spoilt(root)
    (root / "bin" / "activate").unlink()
    damaged = differences(root, read_files(root)).damaged
    repair(root, world.order(root), damaged, Linker())
    assert differences(root, read_files(root)).damaged == ()
    assert (root / "thesis.txt").read_text() == "years of work"
    assert (root / "bin" / "activate").is_file()
    assert {p.name for p in tmp_path.iterdir()} == {"ml", "world"}


def test_a_host_is_refused_before_the_wheels_are_fetched(world: World) -> None:
    asked: list[str] = []

    def fetch(artifacts: Iterable[Artifact]) -> Mapping[str, Path]:
        wanted = tuple(artifacts)
        asked.extend(artifact.kind for artifact in wanted)
        return world.fetch(wanted)

    def refuse(needed: str) -> None:
        refuse_host(System(machine="x86_64", glibc="2.3"), needed)

    host = replace(world.host, fetch=fetch)
    with pytest.raises(Unavailable, match=r"glibc is 2\.3"):
        prepare(world.plan, world.lock, host, accept=refuse)
    assert set(asked) == {"deb"}
    debs = len(asked)
    prepare(world.plan, world.lock, host)
    assert set(asked) == {"deb", "jar", "wheel"}
    assert asked.count("deb") == debs  # each is fetched once


def test_it_becomes_another_one_in_its_place(world: World, tmp_path: Path) -> None:
    root, everything = tmp_path / "ml", world.wheels
    create(world.order(root), root, Linker())
    (root / "mine.txt").write_text("my own")
    before = {entry.path for entry in read_files(root)}
    kept = (root / SITE / "pyspark/__init__.py").stat().st_ino
    world.wheels = everything[1:]  # without toy
    gone = change(root, world.order(root), Linker())
    assert gone == tuple(sorted(before - {entry.path for entry in read_files(root)}))
    assert f"{SITE}/toy.py" in gone
    assert not (root / SITE / "toy-1.dist-info").exists()
    assert differences(root, read_files(root)).added == ("mine.txt",)
    assert differences(root, read_files(root)).damaged == ()
    assert (root / SITE / "pyspark/__init__.py").stat().st_ino == kept
    world.wheels = everything
    assert change(root, world.order(root), Linker()) == ()
    assert {entry.path for entry in read_files(root)} == before
    assert differences(root, read_files(root)).damaged == ()


def test_a_store_that_is_gone_takes_nothing_with_it(world: World, tmp_path: Path) -> None:
    root = tmp_path / "ml"
    world.create(root)
    shutil.rmtree(world.store.root)
    assert differences(root, read_files(root)).damaged == ()


def test_removing_leaves_what_is_somebody_s_own(world: World, tmp_path: Path) -> None:
    root = tmp_path / "ml"
    world.create(root)
    (root / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match=r"no package brought are in it: thesis\.txt"):
        remove(root, differences(root, read_files(root)).added)
    assert (root / "thesis.txt").is_file()
    remove(root, ("thesis.txt",), force=True)
    assert {p.name for p in tmp_path.iterdir()} == {"world"}


def test_known_environments_are_those_still_there(world: World, tmp_path: Path) -> None:
    for name in ("a", "b ünï"):
        world.create(tmp_path / name)
        remember_environment(world.host, tmp_path / name)
    assert known_environments(world.store) == (tmp_path / "a", tmp_path / "b ünï")
    (tmp_path / "a").rename(tmp_path / "c")
    assert known_environments(world.store) == (tmp_path / "b ünï",)


def test_what_is_not_there_now_is_not_forgotten(world: World, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    for name in ("a", "b"):
        world.create(disk / name)
        remember_environment(world.host, disk / name)
    (disk / "a" / NOTES / "environment.json").write_bytes(b"{")
    shown = [(root.name, found and found.runtime, why) for root, found, why in
             described(known_environments(world.store))]  # fmt: skip
    assert shown == [
        ("a", None, "the environment's description cannot be read"),
        ("b", "9.0-ml", ""),
    ]
    disk.rename(tmp_path / "elsewhere")
    disk.mkdir()  # a mount point whose disk is not there
    shown = [(root.name, found and found.runtime, why) for root, found, why in
             described(known_environments(world.store))]  # fmt: skip
    assert shown == [(name, None, "it cannot be reached now") for name in ("a", "b")]
    assert forget_environment(world.store, disk / "a")
    assert not forget_environment(world.store, disk / "a")
    assert known_environments(world.store) == (disk / "b",)


def test_a_store_that_takes_no_note_is_told_and_no_failure(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    remember_environment(replace(world.host, store=Store(tmp_path / "file")), tmp_path / "ml")
    (said,) = world.said
    assert said.startswith(f"`mlruntime env list` will not show {tmp_path}/ml: the store takes no")


def test_a_path_that_is_not_utf_8_is_told(world: World, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff"))
    with pytest.raises(UsageError, match="must be UTF-8") as caught:
        refuse_target(path, is_environment=False)
    str(caught.value).encode()  # it can be printed
    world.create(tmp_path / "ml").path.encode()
    (tmp_path / "ml").rename(path)
    with pytest.raises(UsageError, match="must be UTF-8"), changing(path, world.said.append):
        pytest.fail("it was changed")


@pytest.mark.parametrize("name", ["environment.json", "files.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[[1]]", b'{"format": 1}'])
def test_notes_that_cannot_be_read_are_told(
    world: World, tmp_path: Path, name: str, content: bytes
) -> None:
    root = tmp_path / "ml"
    world.create(root)
    (root / NOTES / name).write_bytes(content)
    if (name, content) == ("files.json", b"[]"):
        assert read_files(root) == ()
        return
    with pytest.raises(InvalidLock, match="cannot be read"):
        read_description(root) if name == "environment.json" else read_files(root)


def test_a_directory_that_is_no_environment_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no environment here"):
        read_description(tmp_path)


@pytest.mark.parametrize(
    ("has", "needed", "runs"),
    [("2.36", "2.34", True), ("2.34", "2.34", True), ("2.9", "2.34", False), ("", "0", False)],
)
def test_a_glibc_runs_what_was_linked_with_an_older_one(has: str, needed: str, runs: bool) -> None:
    system = System(machine="x86_64", glibc=has)
    assert system.has_glibc(needed) == runs
    assert system.runs("x86_64")
    assert not system.runs("aarch64")
