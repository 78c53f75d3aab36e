"""Tables as text and as Markdown."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A title, column headings, and rows of as many cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def plain(table: Table) -> str:
    """Return a table as aligned text."""
    lines = [table.columns, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    rule = tuple("-" * width for width in widths)
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (table.columns, rule, *table.rows)
    ]
    return "\n".join([table.title, "", *text])


def markdown(table: Table) -> str:
    """Return a table as Markdown, without its title."""
    lines = [table.columns, tuple("---" for _ in table.columns), *table.rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )
