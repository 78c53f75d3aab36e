"""A table of figures, and its place in a Markdown page."""

import os
import platform
import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The result of one benchmark: a heading and rows of cells, the first row the titles."""

    name: str
    note: str
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the section's text, with the host it was measured on and how to repeat it."""
        head, *body = self.rows
        lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        lines += [f"| {' | '.join(row)} |" for row in body]
        host = f"{os.cpu_count()} cores, Linux {platform.release()}, Python "
        host += platform.python_version()
        return "\n".join([self.note, "", *lines, "", f"`./dev bench {self.name}` · {host}"])

    def put_into(self, page: str) -> str:
        """Replace the page's section between this benchmark's markers."""
        begin, end = f"<!-- bench:{self.name} -->", "<!-- /bench -->"
        pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
        if not pattern.search(page):
            raise ValueError(f"docs/performance.md has no place for {self.name}: {begin}")
        return pattern.sub(lambda _: f"{begin}\n{self.markdown()}\n{end}", page)
