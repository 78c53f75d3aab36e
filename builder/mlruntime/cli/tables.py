"""Tables on stdout: for reading on a terminal, aligned text elsewhere."""

import sys
from typing import TYPE_CHECKING

from mlruntime.cli.output import emit
from mlruntime.documents.tables import Table, markdown, plain

if TYPE_CHECKING:
    from rich.table import Table as RichTable


def show_tables(tables: list[Table], *, as_markdown: bool = False) -> None:
    """Print tables: for reading on a terminal, aligned text elsewhere."""
    if as_markdown:
        emit(None, "\n\n".join(f"## {t.title}\n\n{markdown(t)}" for t in tables), as_json=False)
    elif sys.stdout.isatty():
        from rich.console import Console  # a tenth of a second, for terminals only

        console = Console()
        for table in tables:
            console.print(_rich(table))
    else:
        emit(None, "\n\n".join(plain(table) for table in tables), as_json=False)


def _rich(table: Table) -> "RichTable":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable

    drawn = RichTable(
        title=table.title,
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for column in table.columns:
        drawn.add_column(column, overflow="fold", min_width=len(column))
    for row in table.rows:
        drawn.add_row(*row)
    return drawn
