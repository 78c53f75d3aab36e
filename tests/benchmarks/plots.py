"""Bars as SVG, readable on a light and on a dark page. Core: no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LABEL, WIDE, TALL, GAP, HEAD = 250, 420, 18, 8, 44
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.bar { fill: #2f7d4f } .bar.slower { fill: #b3482f } .one { stroke: #1f2328; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .bar { fill: #56b87f } .bar.slower { fill: #e5765c }
  .one { stroke: #e6edf3 }
}
"""


@dataclass(frozen=True)
class Bar:
    """A bar: what it is of, and a ratio to what is compared with."""

    label: str
    ratio: float


def bars(title: str, shown: Sequence[Bar]) -> str:
    """Return horizontal bars, with a line at 1: what is compared with."""
    most = max(1.0, *(bar.ratio for bar in shown))
    scale = WIDE / most
    height = HEAD + len(shown) * (TALL + GAP) + GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LABEL + WIDE + 60} {height}"'
        f' role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="8" y="24">{escape(title)}</text>',
    ]
    for n, bar in enumerate(shown):
        top = HEAD + n * (TALL + GAP)
        kind = "bar slower" if bar.ratio < 1 else "bar"
        lines += [
            f'<text x="{LABEL - 8}" y="{top + 14}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect class="{kind}" x="{LABEL}" y="{top}" width="{bar.ratio * scale:.1f}"'
            f' height="{TALL}"/>',
            f'<text x="{LABEL + bar.ratio * scale + 6:.1f}" y="{top + 14}">{bar.ratio:.2f}</text>',
        ]
    one = LABEL + scale
    lines += [
        f'<line class="one" x1="{one:.1f}" x2="{one:.1f}" y1="{HEAD - 6}" y2="{height - GAP}"/>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
