"""The three rings of the design: who may import whom, read from the source itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "builder"

# Values in, values out.
CORE = frozenset(
    {
        "conflict",
        "containers",
        "contract",
        "difference",
        "dockerfile",
        "document",
        "edges",
        "errors",
        "explain",
        "exploring.combinations",
        "exploring.diagnosis",
        "exploring.evidence",
        "exploring.record",
        "facts",
        "image_config",
        "lock",
        "locking.asked",
        "matrix",
        "matrix_text",
        "oci",
        "patching",
        "outdated",
        "plan",
        "recipe",
        "render_difference",
        "render_matrix",
        "report",
        "resolve",
        "rules",
        "runtime",
        "scheduling",
        "solver",
        "space",
        "stack",
        "suitability",
        "templates",
        "layering.dpkg",
        "layering.gzipped",
        "layering.headers",
        "layering.keystore",
        "layering.tarball",
        "layering.wheel",
        "layering.zipped",
        "validation.catalog",
        "validation.expectation",
        "validation.ledger",
    }
)
# The outside world, one module for each part of it.
EDGES = frozenset(
    {
        "command",
        "crew",
        "definitions",
        "engine",
        "engine.connection",
        "engine.container",
        "engine.sdk",
        "fetch",
        "nvml",
        "owner",
        "sources",
        "store",
        "web",
    }
)
STAGES = frozenset(
    {
        "bootstrap",
        "build",
        "cluster",
        "damage",
        "doctor",
        "exploring.publishing",
        "exploring.stages",
        "exploring.state",
        "exploring.sweep",
        "image",
        "inputs",
        "layout",
        "native",
        "planning",
        "releases",
        "staleness",
        "layering.bytecode",
        "layering.debian",
        "locking.assemble",
        "locking.debian",
        "locking.maven",
        "locking.native",
        "locking.pypi",
        "locking.registries",
        "locking.variants",
        "validation.resources",
        "validation.runner",
        "validation.session",
        "workshop",
    }
)
# Run inside an image, by its Python: not part of the package's own graph.
INSIDE = ("layering.compile_wheels", "validation.programs")
OUTSIDE = frozenset(
    {
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
    }
)
# A core module's own business with these is named here, with the reason.
HARMLESS = {
    ("layering.tarball", "io"): "buffers in memory, and files that the caller opened",
    ("layering.wheel", "io"): "buffers in memory",
}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    name: path
    for path in sorted(PACKAGE.rglob("*.py"))
    if not (name := name_of(path)).startswith(INSIDE)
}


def imports(name: str) -> Iterator[str]:
    """Yield what a module imports when it runs; ours without ``builder.``."""
    for node in _running(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            assert node.module is not None
            inside = node.module.removeprefix("builder").lstrip(".")
            for alias in node.names:
                below = f"{inside}.{alias.name}".lstrip(".")
                if node.module.split(".")[0] == "builder" and below in MODULES:
                    yield f"builder.{below}"
                else:
                    yield node.module


def _running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _running(child)


def ours(name: str) -> set[str]:
    found = {i.removeprefix("builder.") for i in imports(name) if i.startswith("builder.")}
    return found - {""}


def theirs(name: str) -> set[str]:
    return {i.split(".")[0] for i in imports(name)} - {"builder"}


def calls(name: str) -> set[str]:
    """Return the names a module calls: ``print``, and ``read_text`` of ``x.read_text()``."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func
            found.add(called.attr if isinstance(called, ast.Attribute) else ast.unparse(called))
    return found


def in_cli(name: str) -> bool:
    return name.split(".")[0] in ("cli", "__main__")


def test_every_module_is_in_exactly_one_ring() -> None:
    assert not CORE & EDGES
    assert not (CORE | EDGES) & STAGES
    packages = {"", "exploring", "layering", "locking", "validation"}
    assert {n for n in MODULES if not in_cli(n)} - packages == CORE | EDGES | STAGES


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_core_imports_only_the_core(name: str) -> None:
    assert ours(name) <= CORE


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_core_does_not_reach_outside(name: str) -> None:
    reached = {module for module in theirs(name) & OUTSIDE if (name, module) not in HARMLESS}
    assert not reached


FILES = frozenset(
    {
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
    }
)
# They read what the caller names: a wheel, a layer's blob, a wheel's bytecode.
STREAMED = {"layering.tarball": {"open"}, "layering.wheel": {"open", "is_dir"}}


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_core_reads_no_files_and_no_clock(name: str) -> None:
    assert calls(name) & FILES <= STREAMED.get(name, set())


@pytest.mark.parametrize("name", sorted(EDGES))
def test_edges_know_nothing_of_the_stages(name: str) -> None:
    assert ours(name) <= CORE | EDGES


@pytest.mark.parametrize("name", sorted(CORE | EDGES | STAGES))
def test_nobody_imports_the_command_line(name: str) -> None:
    assert not {module for module in ours(name) if in_cli(module)}
    assert not theirs(name) & {"typer", "click", "rich"}


@pytest.mark.parametrize(
    ("outside", "modules"),
    [
        ("docker", {"engine.connection", "engine.container", "engine.sdk"}),
        ("subprocess", {"command"}),
        ("httpx", {"web"}),
        ("fcntl", {"store"}),
        ("pynvml", {"nvml"}),
    ],
)
def test_each_part_of_the_world_has_one_module(outside: str, modules: set[str]) -> None:
    assert {name for name in MODULES if outside in theirs(name)} == modules


@pytest.mark.parametrize("name", sorted(n for n in MODULES if not in_cli(n)))
def test_only_the_command_line_prints_and_exits(name: str) -> None:
    assert not calls(name) & {"print", "exit", "_exit", "input"}


def test_the_environment_is_read_where_it_comes_in() -> None:
    """Others get what they need of it as arguments."""

    def reads(name: str) -> bool:
        tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
        return any(
            ast.unparse(node) in ("os.environ", "os.getenv")
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
        )

    readers = {name for name in MODULES if reads(name) and not in_cli(name)}
    # The engine's address is Docker's own variable.
    assert readers <= {"engine.connection"}
