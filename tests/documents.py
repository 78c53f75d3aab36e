"""The parts of the documentation that are generated from data.

``python -m tests.documents`` writes them anew; ``tests/unit/test_readme.py`` fails while a page
says something else. A part stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from builder.definitions import Definitions
from builder.explain import conflict_text, resolution_rows
from builder.exploring.evidence import evidence_page
from builder.exploring.state import evidence_records
from builder.facts import VARIANTS, Component
from builder.inputs import read_lock, read_matrix, read_runtime
from builder.matrix import Matrix
from builder.render_matrix import Table, component_list, markdown, overview, plain
from builder.resolve import NoSolution, resolve
from builder.runtime import RuntimeDefinition
from builder.validation.catalog import CHECKS
from builder.validation.session import IMAGE_CHECK

CHECKOUT = Path(__file__).parents[1]
DEFINITIONS = Definitions(CHECKOUT)
RUNTIME = "6.0-ml"
# The request whose refusal the README explains.
REFUSED = "tensorflow==2.16.2"
# It has no entry in the catalog: no program in the image answers it.
IMAGE_SUMMARY = "every node runs the image under test; its labels say what the lock says"


def parts() -> dict[tuple[str, str], str]:
    """Return every generated part by page and name, without its markers."""
    matrix = read_matrix(DEFINITIONS)
    runtime = read_runtime(DEFINITIONS, RUNTIME, matrix)
    return {
        ("README.md", "contents"): markdown(contents(matrix)),
        ("README.md", "matrix"): titled(overview(matrix)),
        ("README.md", "resolution"): fenced(resolution(matrix, runtime)),
        ("README.md", "conflict"): fenced(conflict(matrix, runtime)),
        ("docs/matrix.md", "components"): markdown(component_list(matrix)),
        ("docs/evidence.md", "evidence"): evidence_page(evidence_records(CHECKOUT)),
        ("docs/validation.md", "checks"): markdown(checks()),
    }


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def titled(tables: Iterable[Table]) -> str:
    """Return tables as ``mlruntime matrix show --markdown`` prints them."""
    return "\n\n".join(f"### {table.title}\n\n{markdown(table)}" for table in tables)


def fenced(text: str) -> str:
    return f"```text\n{text}\n```"


def contents(matrix: Matrix) -> Table:
    """Return the components of every runtime's lock, in the matrix's order."""
    locks = [read_lock(DEFINITIONS, runtime) for runtime in DEFINITIONS.runtimes()]
    found = [
        lock.all_components | {o.component: "left out of this lock" for o in lock.omitted}
        for lock in locks
    ]
    rows = [
        (_titled(c), *(versions.get(name, "-") for versions in found))
        for name, c in matrix.components.items()
        if any(name in versions for versions in found)
    ]
    columns = ("component", *(f"`{lock.runtime}`" for lock in locks))
    return Table(title="", columns=columns, rows=tuple(rows))


def _titled(component: Component) -> str:
    only = component.variants
    return component.title + (f" ({', '.join(only)})" if only != VARIANTS else "")


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
    raise AssertionError(f"{REFUSED} has a solution by now: the README needs another example")


def checks() -> Table:
    """Return every check with its limit, in the order in which they run."""
    rows = [(f"`{IMAGE_CHECK}`", IMAGE_SUMMARY, "-")]
    rows += [(f"`{check.name}`", check.summary, str(check.timeout)) for check in CHECKS]
    return Table(title="", columns=("check", "what it proves", "limit, s"), rows=tuple(rows))


def span(name: str) -> re.Pattern[str]:
    """Return a pattern for a part, its text being group 1."""
    return re.compile(
        rf"^<!-- {re.escape(name)} -->\n(.*?)\n?<!-- /{re.escape(name)} -->$",
        re.DOTALL | re.MULTILINE,
    )


def markers(page: str) -> Iterator[str]:
    """Yield the names of the parts that a page has."""
    yield from re.findall(r"^<!-- /([a-z]+) -->$", page, re.MULTILINE)


def main() -> None:
    """Write every part into its page."""
    for (page, name), text in parts().items():
        path = CHECKOUT / page
        old = text_of(path)
        whole = f"<!-- {name} -->\n{text}\n<!-- /{name} -->"
        new, count = span(name).subn(lambda _, whole=whole: whole, old)
        if count != 1:
            raise ValueError(f"{page} has {count} parts called {name}")
        path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
