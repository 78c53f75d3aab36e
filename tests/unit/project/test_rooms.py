"""Who may import whom, and who may touch the outside world: read from the source itself."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import imported_rooms, room_docstring, room_names

PACKAGE = Path(__file__).parents[3] / "builder" / "mlruntime"
# Values in, values out: no process, network, file, clock or environment.
PURE_ROOMS = frozenset({"documents", "layers", "lock", "matrix", "resolve", "solver"})
PURE_MODULES = frozenset(
    {
        "ci.actions",
        "ci.rendering",
        "cluster.class_data",
        "cluster.description",
        "cluster.form",
        "cluster.memory",
        "cluster.settings",
        "cluster.gpus",
        "doctor.gpus",
        "ecosystems.conda",
        "ecosystems.conda.archive",
        "ecosystems.conda.entry_points",
        "ecosystems.conda.forward",
        "ecosystems.conda.install",
        "ecosystems.conda.metadata",
        "ecosystems.conda.owners",
        "ecosystems.conda.prefix",
        "ecosystems.debian.dpkg",
        "ecosystems.debian.licences",
        "ecosystems.debian.owners",
        "ecosystems.debian.keystore",
        "ecosystems.debian.packages",
        "ecosystems.debian",
        "ecosystems.maven",
        "ecosystems.maven.closure",
        "ecosystems.maven.conflict",
        "ecosystems.maven.lines",
        "ecosystems.maven.owners",
        "ecosystems.maven.pom",
        "ecosystems.maven.scala",
        "ecosystems.maven.shipped",
        "ecosystems.maven.versions",
        "ecosystems.maven.xml",
        "ecosystems.native.patching",
        "ecosystems.native.recipe",
        "ecosystems.owners",
        "ecosystems.place",
        "ecosystems.pypi",
        "ecosystems.pypi.content",
        "ecosystems.pypi.licences",
        "ecosystems.pypi.markers",
        "ecosystems.pypi.owners",
        "ecosystems.pypi.site",
        "ecosystems.pypi.stored",
        "ecosystems.pypi.wheel",
        "ecosystems.pypi.wheel_reading",
        "ecosystems.pypi.zipped",
        "ecosystems.spdx",
        "ecosystems.wanted",
        "engine.values",
        "environment.contents",
        "environment.layout",
        "environment.personal",
        "environment.settings",
        "errors",
        "explore.combinations",
        "explore.diagnosis",
        "explore.evidence",
        "explore.record",
        "host.gpus",
        "image.config",
        "image.difference",
        "image.difference_tables",
        "image.dockerfile",
        "image.oci",
        "image.plan",
        "image.sources",
        "image.sources.conda",
        "image.sources.debian",
        "image.sources.ecosystem",
        "image.sources.jars",
        "image.sources.literal",
        "image.sources.model",
        "image.sources.python",
        "image.sources.python_files",
        "image.stack",
        "image.templates",
        "definitions.lifecycle",
        "definitions.runtime",
        "locking.added_jars",
        "locking.request",
        "validation.catalog",
        "validation.expectation",
        "validation.pace",
        "validation.report",
        "validation.s3",
        "validation.state",
    }
)
# They run inside an image or an environment, by its Python: not part of the package's own graph.
INSIDE = (
    "cluster.programs",
    "ecosystems.pypi.compile_wheels",
    "environment.unpack",
    "validation.programs",
)
OUTSIDE = frozenset(
    [
        "asyncio",
        "concurrent",
        "docker",
        "fcntl",
        "glob",
        "http",
        "httpx",
        "io",
        "multiprocessing",
        "os",
        "pypi_simple",
        "random",
        "requests",
        "secrets",
        "select",
        "shutil",
        "signal",
        "socket",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "urllib3",
        "uuid",
    ]
)
# A pure module's own business with these is named here, with the reason.
HARMLESS = {
    ("layers.writer", "io"): "buffers in memory, and files that the caller opened",
    ("ecosystems.conda.archive", "io"): "buffers in memory",
    ("ecosystems.conda.forward", "io"): "what a file object has to be",
    ("ecosystems.conda.install", "io"): "buffers in memory",
    ("ecosystems.debian.packages", "io"): "buffers in memory",
    ("ecosystems.maven.shipped", "io"): "buffers in memory",
    ("ecosystems.pypi.content", "io"): "buffers in memory",
    ("ecosystems.pypi.wheel", "io"): "buffers in memory",
    ("environment.personal", "urllib"): "quotes a path",
}
FILES = frozenset(
    [
        "open",
        "read_text",
        "read_bytes",
        "write_text",
        "write_bytes",
        "mkdir",
        "unlink",
        "exists",
        "is_file",
        "is_dir",
        "glob",
        "iterdir",
        "rglob",
        "stat",
        "touch",
        "cwd",
        "home",
        "getenv",
        "now",
        "today",
    ]
)
# They read what the caller names: a wheel, a package, a layer's blob, a wheel's bytecode.
STREAMED = {
    "ecosystems.conda.archive": {"open"},
    "ecosystems.debian.packages": {"open"},
    "ecosystems.maven.shipped": {"open"},
    "ecosystems.pypi.wheel": {"open"},
    "ecosystems.pypi.wheel_reading": {"open", "is_dir"},
    "image.sources.jars": {"open"},
    "layers.writer": {"open"},
}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    name: ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
    if not (name := name_of(path)).startswith(INSIDE)
}
PURE = sorted(n for n in MODULES if n.split(".")[0] in PURE_ROOMS or n in PURE_MODULES)


def imported(name: str) -> Iterator[str]:
    """Yield the modules, ours and others', that a module imports when it runs."""
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            assert node.module is not None
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below.removeprefix("mlruntime.") in MODULES else node.module


def theirs(name: str) -> set[str]:
    return {i.split(".")[0] for i in imported(name)} - {"mlruntime"}


def calls(name: str) -> set[str]:
    """Return the names a module calls: ``print``, and ``read_text`` of ``x.read_text()``."""
    found = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Call):
            called = node.func
            found.add(called.attr if isinstance(called, ast.Attribute) else ast.unparse(called))
    return found


def in_cli(name: str) -> bool:
    return name.split(".")[0] in ("cli", "__main__")


@pytest.mark.starts
def test_data_runs_one_way() -> None:
    """The contracts of ``[tool.importlinter]`` hold; every room stands in one of them.

    In a process of its own: the linter sets up logging as it likes it.
    """
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", program, "--no-cache"]
    done = subprocess.run(command, cwd=PACKAGE.parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


ROOMS = room_names()
EVERYTHING = ("cli", "explore", "workflows")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_may_import(room: str) -> None:
    """In the second paragraph of its docstring; that is what it does import, of those below it."""
    purpose, _, rest = room_docstring(room).partition("\n\n")
    said = " ".join(rest.partition(".")[0].split())
    assert purpose
    if room in EVERYTHING:
        assert said == "May import every room below it"
        return
    if room == "errors":
        assert said == "May import nothing of mlruntime"
        return
    listed = said.removeprefix("May import ").replace(" and ", ", ").split(", ")
    used = imported_rooms(room) - {"errors"}
    in_order = [name for name in ROOMS if name in used] or ["errors only"]
    assert listed == in_order, f"write what {room} imports into {room}/__init__.py"


def test_the_rooms_are_the_folders() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").is_file()}
    assert rooms == set(ROOMS) - {"errors"}
    beside = {p.name for p in PACKAGE.glob("*.py")}
    assert beside == {"__init__.py", "__main__.py", "errors.py"}


def test_the_pure_modules_are_there() -> None:
    assert set(MODULES) >= PURE_MODULES
    assert {n.split(".")[0] for n in MODULES} >= PURE_ROOMS


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_do_not_reach_outside(name: str) -> None:
    reached = {module for module in theirs(name) & OUTSIDE if (name, module) not in HARMLESS}
    assert not reached
    assert calls(name) & FILES <= STREAMED.get(name, set())


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_import_pure_modules(name: str) -> None:
    ours = {i.removeprefix("mlruntime.") for i in imported(name) if i.startswith("mlruntime.")}
    assert ours <= {*PURE, "__version__"}


@pytest.mark.parametrize("name", sorted(n for n in MODULES if not in_cli(n)))
def test_only_the_command_line_prints_and_exits(name: str) -> None:
    assert not theirs(name) & {"typer", "click", "rich"}
    assert not calls(name) & {"print", "exit", "_exit", "input"}


@pytest.mark.parametrize(
    ("outside", "modules"),
    [
        (
            "docker",
            {
                "engine.docker.connection",
                "engine.docker.container",
                "engine.docker.endpoint",
                "engine.docker.engine",
                "engine.docker.options",
                "engine.docker.sdk",
            },
        ),
        ("subprocess", {"host.command"}),
        ("httpx", {"fetch.retries", "fetch.routes", "fetch.web"}),
        ("fcntl", {"environment.linking", "store.locking"}),
        ("pynvml", {"host.nvml"}),
    ],
)
def test_each_part_of_the_world_has_one_place(outside: str, modules: set[str]) -> None:
    assert {name for name in MODULES if outside in theirs(name)} == modules


def test_the_environment_is_read_where_it_comes_in() -> None:
    """Others get what they need of it as arguments."""

    def reads(name: str) -> bool:
        return any(
            ast.unparse(node) in ("os.environ", "os.getenv")
            for node in ast.walk(MODULES[name])
            if isinstance(node, ast.Attribute)
        )

    readers = {name for name in MODULES if reads(name) and not in_cli(name)}
    # The engine's address is Docker's own variable.
    assert readers <= {"engine.docker.connection", "workflows.store.stores"}
