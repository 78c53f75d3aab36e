"""`mlruntime lock` with conda channels: real channels, rattler's solver; the rest is replaced."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.cli import main
from mlruntime.ecosystems.conda.solver import Channels, read_channels
from mlruntime.fetch.web import Web
from mlruntime.host.settings import discover
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
from mlruntime.locking import registries

from tests.unit.channels import AFTER_MS, Package, write_channel
from tests.unit.cli.test_lock_verb import World
from tests.unit.servers import Server, serving

MATRIX = """
components:
  debian: {title: Debian, summary: x, releases: ["12"]}
  python:
    title: Python
    summary: x
    releases: ["3.10", "3.11"]
    artifacts:
      - {origin: debian, name: "python{python.minor}"}
      - {origin: conda, name: python, pin: prefix}
  numpy:
    title: NumPy
    summary: x
    releases: ["1.26.4", "2.0.2"]
    artifacts: [{origin: pypi, name: numpy}, {origin: conda, name: numpy}]
  spark:
    title: Spark
    summary: x
    releases: ["3.5.8"]
    artifacts: [{origin: pypi, name: pyspark}]
preference: [spark, numpy, python, debian]
rules:
  - id: debian-12-python
    says: Debian 12 has Python 3.11 and no other.
    when: {debian: "==12", python: "*"}
    delivered: {python: debian}
    requires: {python: "==3.11"}
    evidence: documented
    source: https://example.org/
    date: 2026-11-22
  - id: spark-numpy
    says: Spark 3.5 works with NumPy 1.
    when: {spark: "==3.5.*"}
    requires: {numpy: "<2"}
    evidence: documented
    source: https://example.org/
    date: 2026-11-22
"""
RUNTIME = """
runtime: 0.1-ml
summary: x
snapshot: 2026-11-20T00:00:00Z
variants: [cpu]
request: {debian: "*", python: "==3.10", spark: "==3.5.*", numpy: "*"}
conda:
  channels: [CHANNELS]
  components: [python, numpy]
  packages: ["toylib >=1"]
"""
GPU = "gpu: {architectures: ['8.0'], ptx: ['8.0'], cuda: '12.4', memory_mib: 1}\n"
PYTHON = Package(name="python", version="3.10.14", build="h_0_cpython", depends=("__glibc >=2.17",))
NUMPY = Package(name="numpy", version="1.26.4", build="py310_0", depends=("python >=3.10,<3.11",))
TOYLIB = Package(name="toylib", build="cpu_0")
PACKAGES = [
    PYTHON,
    replace(PYTHON, version="3.10.15", timestamp=AFTER_MS),
    NUMPY,
    Package(name="numpy", version="2.0.2", build="py310_0", depends=("python",)),
    TOYLIB,
    Package(name="toylib", build="cuda_1", depends=("__cuda >=12", "toycuda")),
    Package(name="toycuda", version="12.1", noarch="generic", ending=".tar.bz2"),
]


class WithChannels(World):
    """The registries of another test, with the channels of this host."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self.environ: dict[str, str] = {}
        self.home = home

    def channels(self, names: tuple[str, ...], snapshot: str) -> Channels:
        sources = discover(self.environ, home=self.home, etc=self.home, apt_config=lambda: "")
        scratch = self.home / f"scratch-{self.reached}"
        scratch.mkdir()
        with Web(sources, pauses=(0.0,), sleep=lambda _: None) as web:
            return read_channels(names, sources, web, scratch, snapshot)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> WithChannels:
    world = WithChannels(tmp_path)
    monkeypatch.setattr(registries, "HostRegistries", world)
    monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "store"))
    return world


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    return write_channel(tmp_path / "channel", PACKAGES)


@pytest.fixture
def server(channel: Path) -> Iterator[Server]:
    with serving(Server()) as state:
        for path in channel.rglob("*"):
            if path.is_file():
                state.put(f"/toys/{path.relative_to(channel)}", path.read_bytes())
        yield state


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "definitions"
    (root / "runtimes/0.1-ml").mkdir(parents=True)
    (root / "images/pyspark").mkdir(parents=True)
    (root / "matrix.yaml").write_text(MATRIX)
    (root / "images/pyspark/recipe.yaml").write_text("name: pyspark\n")
    return root


def asked(root: Path, channels: str, text: str = RUNTIME) -> list[str]:
    path = root / "runtimes/0.1-ml/runtime.yaml"
    path.write_text(text.replace("CHANNELS", channels))
    return ["--root", str(root), "lock", "0.1-ml"]


def locked(root: Path) -> Lock:
    path = root / "runtimes/0.1-ml/lock.json"
    return parse_lock(path.read_text(), file="lock.json")


def test_a_channel_is_locked(
    root: Path, world: WithChannels, channel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = asked(root, channel.as_uri())
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["artifacts"]["conda packages"]["count"] == 3
    lock = locked(root)
    # What was made after the snapshot does not exist, and the matrix's rule about NumPy holds.
    assert [(p.name, p.artifact.version, p.build) for p in lock.conda] == [
        ("numpy", "1.26.4", "py310_0"),
        ("python", "3.10.14", "h_0_cpython"),
        ("toylib", "1.0", "cpu_0"),
    ]
    numpy = lock.conda[0]
    content = NUMPY.bytes()
    assert (numpy.artifact.size, numpy.subdir, numpy.channel) == (
        len(content),
        "linux-64",
        channel.as_uri(),
    )
    assert len(numpy.md5) == 32
    assert numpy.depends == ("python >=3.10,<3.11",)
    assert lock.interpreter == "/opt/conda/bin"
    # Debian's Python is not the image's: the rule about it is silent.
    assert lock.component("python") == "3.10"
    assert "numpy" not in {a.name for a in lock.python}
    before = (root / "runtimes/0.1-ml/lock.json").read_text()
    assert '"format": 4' in before
    assert lock.to_json() == before
    assert main(words) == 0
    assert (root / "runtimes/0.1-ml/lock.json").read_text() == before
    assert main([*words, "--check", "--registry"]) == 0


def test_variants_differ_in_builds_and_never_in_undeclared_versions(
    root: Path, world: WithChannels, channel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    driver = (
        'driver: {title: d, summary: x, on-request: true, variants: [gpu], releases: ["525.60.13"]}'
    )
    rule = """
  - id: driver
    says: A GPU needs a driver.
    when: {spark: "==3.5.*"}
    requires: {driver: ">=525"}
    evidence: documented
    source: https://example.org/
    date: 2026-11-22
"""
    text = MATRIX.replace("components:\n", f"components:\n  {driver}\n", 1)
    text = text.replace("debian]\n", "debian, driver]\n", 1) + rule
    (root / "matrix.yaml").write_text(text)
    runtime = RUNTIME.replace("[cpu]", "[cpu, gpu]").replace(
        'numpy: "*"', 'numpy: "*", driver: "*"'
    )
    words = asked(root, channel.as_uri(), runtime + GPU)
    assert main(words) == 0, capsys.readouterr().err
    lock = locked(root)
    assert [p.name for p in lock.conda] == ["numpy", "python", "toylib"]
    # Nothing made the second variant take another build: they are as equal as they can be.
    assert lock.variant("gpu").conda == ()
    words = asked(root, channel.as_uri(), runtime.replace("toylib >=1", "toycuda") + GPU)
    assert main(words) == 0, capsys.readouterr().err
    assert [p.artifact.filename for p in locked(root).conda][-1] == "toycuda-12.1-0.tar.bz2"


def test_a_channel_over_http_wants_a_login(
    root: Path, world: WithChannels, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.password = ("ann", "s3cret")
    words = asked(root, f"{server.url}/toys")
    assert main(words) == 6
    said = capsys.readouterr().err
    assert f"the channel {server.url}/toys cannot be read" in said
    assert "requires a valid login" in said
    (world.home / ".netrc").write_text("machine 127.0.0.1 login ann password s3cret\n")
    assert main(words) == 0, capsys.readouterr().err
    assert "s3cret" not in locked(root).to_json()
    # A named channel: its address, with a login, is this host's own.
    (world.home / ".netrc").unlink()
    host = server.url.removeprefix("http://")
    world.environ["MLRUNTIME_CONDA_CHANNELS"] = f"toys=http://ann:s3cret@{host}/toys"
    words = asked(root, "toys")
    assert main(words) == 0, capsys.readouterr().err
    assert locked(root).conda[0].artifact.origin == "conda:linux-64:toys"
    assert "s3cret" not in locked(root).to_json() + capsys.readouterr().err


def test_a_login_in_runtime_yaml_is_refused(
    root: Path, world: WithChannels, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(root, "https://ann:s3cret@example.org/toys")) == 4
    assert "runtime.yaml: conda.channels[0]: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ([(404, {})] * 8, ("there is no channel http://", "neither linux-64 nor noarch")),
        ([(503, {})] * 8, ("cannot be read", "HTTP status 503 (2 tries)")),
        ([(403, {})] * 8, ("cannot be read", "HTTP status 403")),
    ],
)
def test_a_channel_that_cannot_be_read(
    root: Path,
    world: WithChannels,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    statuses: list[tuple[int, dict[str, str]]],
    said: tuple[str, ...],
) -> None:
    server.statuses = list(statuses)
    assert main(asked(root, f"{server.url}/toys")) == 6
    error = capsys.readouterr().err
    assert all(words in error for words in said)
    assert "MLRUNTIME_CONDA_CHANNELS='toys=https://mirror/toys'" in error
    assert not (root / "runtimes/0.1-ml/lock.json").exists()


def test_a_channel_that_nobody_answers_for(
    root: Path, world: WithChannels, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(root, "http://127.0.0.1:9/toys")) == 6
    error = capsys.readouterr().err
    assert "http://127.0.0.1:9/toys/linux-64/repodata.json" in error
    assert "or file:///… for a copy on this host" in error
    # All that is missing is told at once.
    assert main(asked(root, "'http://127.0.0.1:9/toys', 'http://127.0.0.1:9/tools'")) == 6
    error = capsys.readouterr().err
    assert "the channel http://127.0.0.1:9/toys cannot be read; the channel" in error
    assert "MLRUNTIME_CONDA_CHANNELS='tools=https://mirror/tools'" in error


def test_one_cut_connection_is_no_failure(
    root: Path, world: WithChannels, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.statuses = [(503, {})]
    assert main(asked(root, f"{server.url}/toys")) == 0, capsys.readouterr().err


def test_the_first_channel_that_has_a_package_is_the_only_one_for_it(
    root: Path, world: WithChannels, channel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_channel(world.home / "first", [replace(TOYLIB, version="0.5")])
    assert main(asked(root, f"'{first.as_uri()}', '{channel.as_uri()}'")) == 3
    error = capsys.readouterr().err
    assert "the conda packages that are asked for do not go together" in error
    assert "toylib" in error
    words = asked(root, f"'{channel.as_uri()}', '{first.as_uri()}'")
    assert main(words) == 0


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("nothere", 3, "nothere"),
        ("numpy", 4, "'numpy' is part of a component of the matrix, numpy"),
        ("toylib >=>", 4, "is no match specification"),
    ],
)
def test_what_cannot_be_asked_of_channels(
    root: Path,
    world: WithChannels,
    channel: Path,
    capsys: pytest.CaptureFixture[str],
    line: str,
    code: int,
    said: str,
) -> None:
    text = RUNTIME.replace("toylib >=1", line)
    assert main(asked(root, channel.as_uri(), text)) == code
    assert said in capsys.readouterr().err


def test_a_component_without_a_conda_package(
    root: Path, world: WithChannels, capsys: pytest.CaptureFixture[str]
) -> None:
    text = RUNTIME.replace("[python, numpy]", "[spark]")
    assert main(asked(root, "toys", text)) == 4
    error = capsys.readouterr().err
    assert "runtime.yaml: conda.components: the matrix knows no conda package of 'spark'" in error
    assert "known: numpy, python" in error


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\x00" * 99, b'{"packages": {"x": 1}}', b'{"info": {"subdir": 1}}'],
)
@pytest.mark.parametrize("ending", ["", ".zst"])
def test_a_list_that_is_none(
    root: Path,
    world: WithChannels,
    channel: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    ending: str,
) -> None:
    for path in channel.rglob("repodata.json*"):
        path.unlink()
    (channel / "linux-64" / f"repodata.json{ending}").write_bytes(content)
    assert main(asked(root, channel.as_uri())) in (3, 6)
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert channel.as_uri() in error


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": None}, "the channel gives no sha256 for toylib"),
        ({"size": None}, "the channel gives no size for toylib"),
    ],
)
def test_a_channel_that_says_too_little(
    root: Path,
    world: WithChannels,
    channel: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, object],
    said: str,
) -> None:
    path = channel / "linux-64/repodata.json"
    path.with_name("repodata.json.zst").unlink()
    listed = json.loads(path.read_text())
    for name, package in listed["packages.conda"].items():
        if name.startswith("toylib"):
            package |= change
    path.write_text(json.dumps(listed))
    assert main(asked(root, channel.as_uri())) == 6
    assert said in capsys.readouterr().err


def test_without_the_extra_it_says_what_to_install(
    root: Path,
    world: WithChannels,
    channel: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "rattler", None)
    assert main(asked(root, channel.as_uri())) == 6
    error = capsys.readouterr().err
    assert "conda packages are solved by py-rattler" in error
    assert "pip install 'mlruntime[conda]'" in error
