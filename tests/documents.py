"""The parts of the documentation that are generated from data.

``python -m tests.documents`` writes them anew; ``tests/unit/project/test_readme.py`` fails while a
page says something else. A part stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

import ast
import inspect
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from mlruntime.cli import application
from mlruntime.cluster.form import ClusterForm
from mlruntime.definitions.files import Definitions
from mlruntime.definitions.runtime import RuntimeDefinition, RuntimeForm
from mlruntime.documents.schema import json_schema
from mlruntime.documents.tables import (
    Table,
    markdown,
    plain,
)
from mlruntime.ecosystems.native.recipe import RecipeForm
from mlruntime.explore.evidence import evidence_page
from mlruntime.explore.state import evidence_records
from mlruntime.host.settings import table as settings_table
from mlruntime.image.stack import StackForm
from mlruntime.lock.document import LockForm
from mlruntime.matrix.document import MatrixForm
from mlruntime.matrix.model import VARIANTS, Component
from mlruntime.matrix.parsing import Matrix
from mlruntime.matrix.tables import (
    component_list,
    overview,
)
from mlruntime.release.policy import PolicyForm
from mlruntime.resolve.resolution import NoSolution, resolve
from mlruntime.resolve.wording import conflict_text, resolution_rows
from mlruntime.validation.catalog import CHECKS
from mlruntime.validation.session import IMAGE_CHECK
from mlruntime.workflows.inputs import read_matrix, read_runtime
from mlruntime.workflows.locked import read_lock

from tests import pipelines, rendered

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "builder" / "mlruntime"
DEFINITIONS = Definitions(CHECKOUT)
RUNTIME = "6.0-ml"
FORMS = {
    "matrix": (MatrixForm, "matrix.yaml"),
    "runtime": (RuntimeForm, "runtimes/ID/runtime.yaml"),
    "layers": (StackForm, "images/layers.yaml"),
    "recipe": (RecipeForm, "images/NAME/recipe.yaml"),
    "lock": (LockForm, "runtimes/ID/lock.json"),
    "cluster": (ClusterForm, "cluster.yaml"),
    "release": (PolicyForm, "release.yaml"),
}
# The request whose refusal docs/resolving.md explains.
REFUSED = "tensorflow==2.16.2"
# It has no entry in the catalog: no program in the image answers it.
IMAGE_SUMMARY = "every node runs the image under test; its labels say what the lock says"


def parts() -> dict[tuple[str, str], str]:
    """Return every generated part by page and name, without its markers."""
    matrix = read_matrix(DEFINITIONS)
    runtime = read_runtime(DEFINITIONS, RUNTIME, matrix)
    return {
        ("README.md", "contents"): markdown(contents(matrix)),
        ("docs/compatibility.md", "matrix"): titled(overview(matrix)),
        ("docs/resolving.md", "resolution"): fenced(resolution(matrix, runtime)),
        ("docs/resolving.md", "conflict"): fenced(conflict(matrix, runtime)),
        ("docs/cli.md", "verbs"): "\n\n".join(verbs()),
        ("docs/architecture.md", "rooms"): markdown(rooms()),
        ("docs/architecture.md", "imports"): imports(),
        ("docs/matrix.md", "components"): markdown(component_list(matrix)),
        ("docs/evidence.md", "evidence"): evidence_page(evidence_records(CHECKOUT)),
        ("docs/validation.md", "checks"): markdown(checks()),
        ("docs/host-settings.md", "settings"): settings_table.markdown().rstrip("\n"),
        ("docs/host-settings.md", "other-settings"): settings_table.other_markdown().rstrip("\n"),
    }


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def titled(tables: Iterable[Table]) -> str:
    """Return tables as ``mlruntime matrix show --markdown`` prints them."""
    return "\n\n".join(f"## {table.title}\n\n{markdown(table)}" for table in tables)


def fenced(text: str) -> str:
    return f"```text\n{text}\n```"


def contents(matrix: Matrix) -> Table:
    """Return the components of every runtime's lock, in the matrix's order."""
    locked = (r for r in DEFINITIONS.runtimes() if DEFINITIONS.lock_path(r).is_file())
    locks = [read_lock(DEFINITIONS, runtime) for runtime in locked]
    found = [
        lock.all_components | {o.component: "left out of this lock" for o in lock.all_omitted}
        for lock in locks
    ]
    flavours = {
        name: flavour.name
        for lock in locks
        for flavour in lock.flavours
        for name in (*dict(flavour.components), *(o.component for o in flavour.omitted))
    }
    rows = [
        (_titled(c, flavours.get(name)), *(versions.get(name, "-") for versions in found))
        for name, c in matrix.components.items()
        if any(name in versions for versions in found)
    ]
    columns = ("component", *(f"`{lock.runtime}`" for lock in locks))
    return Table(title="", columns=columns, rows=tuple(rows))


def _titled(component: Component, flavour: str | None) -> str:
    """Return a component's title, and which images have it if not all do."""
    only = component.variants if component.variants != VARIANTS else ()
    where = ", ".join((*only, *(f"flavour `{name}`" for name in [flavour] if name)))
    return f"{component.title} ({where})" if where else component.title


def resolution(matrix: Matrix, runtime: RuntimeDefinition) -> str:
    """Return what ``mlruntime resolve`` prints for the runtime."""
    rows = tuple(resolution_rows(resolve(matrix, runtime.request)))
    return plain(Table(title=runtime.summary, columns=("component", "version", "why"), rows=rows))


def conflict(matrix: Matrix, runtime: RuntimeDefinition) -> str:
    """Return what ``mlruntime resolve --set`` says of the refused request."""
    try:
        resolve(matrix, runtime.with_settings([REFUSED]).request)
    except NoSolution as failure:
        return f"mlruntime: {conflict_text(failure.conflict)}"
    raise AssertionError(
        f"{REFUSED} has a solution by now: docs/resolving.md needs another example"
    )


def checks() -> Table:
    """Return every check with its limit, in the order in which they run."""
    rows = [(f"`{IMAGE_CHECK}`", IMAGE_SUMMARY, "-")]
    rows += [(f"`{check.name}`", check.summary, str(check.timeout)) for check in CHECKS]
    return Table(title="", columns=("check", "what it proves", "limit, s"), rows=tuple(rows))


def verbs() -> Iterator[str]:
    """Yield a section for each verb: its help, its arguments and options."""
    yield from _verbs(typer.main.get_command(application()), "mlruntime")


def _verbs(command: Any, path: str) -> Iterator[str]:
    below = getattr(command, "commands", {})
    for name in below:
        yield from _verbs(below[name], f"{path} {name}")
    if not below:
        rows = tuple(_parameter(p) for p in command.params if p.name != "help")
        table = markdown(Table(title="", columns=("parameter", "what it is"), rows=rows))
        told = " ".join(inspect.cleandoc(command.help or "").split())
        yield f"### {path}\n\n{told}\n\n{table}"


def _parameter(parameter: Any) -> tuple[str, str]:
    """Return one argument or option with its value's name, and its help with the default."""
    if parameter.param_type_name == "argument":
        needed = parameter.required or parameter.metavar.startswith("[")
        name = parameter.metavar if needed else f"[{parameter.metavar}]"
        return f"`{name}`", str(parameter.help)
    value = "" if parameter.is_flag or parameter.count else f" {parameter.metavar}"
    *short, long = sorted(parameter.opts, key=len)
    names = ", ".join(f"`{n}`" for n in (*short, f"{long}{value}", *parameter.secondary_opts))
    default = parameter.default
    shown = "" if default in (None, False, True, ()) else f" (default: {default})"
    return names, f"{parameter.help}{shown}{' (required)' if parameter.required else ''}"


def room_names() -> list[str]:
    """Return the rooms from the top floor down, as ``[tool.importlinter]`` has them."""
    settings = tomllib.loads(text_of(CHECKOUT / "pyproject.toml"))["tool"]["importlinter"]
    floors = settings["contracts"][0]["layers"]
    return [room for floor in floors for room in floor.split(" | ")]


def rooms() -> Table:
    """Return what each room is for and what it may import, in its own words."""
    rows = []
    for room in room_names():
        purpose, _, rest = room_docstring(room).partition("\n\n")
        allowed = re.match(r"May import (.+?)\.", rest, re.DOTALL)
        assert allowed, f"{room} does not say what it may import"
        told = (" ".join(text.replace("``", "`").split()) for text in (purpose, allowed[1]))
        rows.append((f"`{room}`", *told))
    columns = ("room", "what it is for", "may import")
    return Table(title="", columns=columns, rows=tuple(rows))


def room_docstring(room: str) -> str:
    """Return what a room says of itself."""
    folder = PACKAGE / room
    source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    return ast.get_docstring(ast.parse(text_of(source))) or ""


def imports() -> str:
    """Return the imports between rooms as a Mermaid diagram, drawn from the code.

    Left out is what follows from the rest: an arrow that a longer way already tells of, and
    ``errors``, which everybody imports.
    """
    graph = {room: imported_rooms(room) - {"errors"} for room in room_names() if room != "errors"}
    arrows = [
        f"    {room} --> {other}"
        for room, others in graph.items()
        for other in sorted(others)
        if not any(other in _below(graph, between) for between in others - {other})
    ]
    return "\n".join(["```mermaid", "flowchart TD", *arrows, "```"])


def imported_rooms(room: str) -> set[str]:
    """Return the other rooms that the modules of a room import."""
    found = set()
    for path in (PACKAGE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mlruntime."):
                found.add(str(node.module).split(".")[1])
    return found - {room}


def _below(graph: Mapping[str, set[str]], room: str) -> set[str]:
    """Return every room that one imports, itself or through others."""
    return graph[room].union(*(_below(graph, other) for other in graph[room]))


def span(name: str) -> re.Pattern[str]:
    """Return a pattern for a part, its text being group 1."""
    return re.compile(
        rf"^<!-- {re.escape(name)} -->\n(.*?)\n?<!-- /{re.escape(name)} -->$",
        re.DOTALL | re.MULTILINE,
    )


def markers(page: str) -> Iterator[str]:
    """Yield the names of the parts that a page has."""
    yield from re.findall(r"^<!-- /([a-z-]+) -->$", page, re.MULTILINE)


def main() -> None:
    """Write every part into its page."""
    for (page, name), text in parts().items():
        path = CHECKOUT / page
        old = text_of(path)
        whole = f"<!-- {name} -->\n{text}\n<!-- /{name} -->"
        new, count = span(name).subn(whole.replace("\\", r"\\"), old)
        if count != 1:
            raise ValueError(f"{page} has {count} parts called {name}")
        path.write_text(new, encoding="utf-8")
    for name, text in {**schemas(), **rendered.golden(), **pipelines.golden()}.items():
        (CHECKOUT / name).parent.mkdir(parents=True, exist_ok=True)
        (CHECKOUT / name).write_text(text, encoding="utf-8")


def schemas() -> dict[str, str]:
    """Return the JSON Schema of each kind of document by path: editors check and complete by it."""
    return {
        f"schemas/{name}.schema.json": json.dumps(
            json_schema(form, title=title), indent=1, ensure_ascii=False
        )
        + "\n"
        for name, (form, title) in FORMS.items()
    }


if __name__ == "__main__":
    main()
