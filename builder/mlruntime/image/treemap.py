"""A treemap as SVG: areas in proportion to sizes, in groups. Core: values in, text out.

The layout is that of "Squarified Treemaps" (Bruls, Huizing, van Wijk, 2000): rectangles are put
into rows along the shorter side, a row being as long as that makes its rectangles squarer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, TypeVar

_T = TypeVar("_T")
_WIDTH, _HEIGHT = 1200, 700
_TITLE: Final = 18
# Neighbours in this order are told apart by people who do not see red and green, too. Black text
# can be read on each of them, whether the page around it is light or dark.
_COLOURS: Final = ("#98b4d0", "#abe3f6", "#85bd8e", "#e3da98", "#f6abb4", "#d08fb4", "#dadada")
# A label needs about this much room; the whole name is in the tooltip anyway.
_LETTER, _LINE = 6.6, 15
# A longer name is cut off, but never after fewer letters than this.
_LEAST: Final = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A rectangle of rectangles: its name, and the names and sizes (over 0) of its parts."""

    name: str
    parts: tuple[tuple[str, int], ...]

    @property
    def size(self) -> int:
        """Return the sum of its parts."""
        return sum(size for _, size in self.parts)


@dataclass(frozen=True, slots=True)
class _Box:
    x: float
    y: float
    width: float
    height: float


def treemap(title: str, groups: Sequence[Group]) -> str:
    """Return an SVG document; equal groups give equal bytes. Groups without parts are left out."""
    shown = sorted((group for group in groups if group.size), key=lambda g: (-g.size, g.name))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' role="img" aria-label="{escape(title)}" font-family="sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        f'<text x="4" y="13" font-weight="bold" fill="currentColor">{escape(title)}</text>',
    ]
    whole = _Box(0, _TITLE, _WIDTH, _HEIGHT - _TITLE)
    for index, (box, group) in enumerate(_laid_out([g.size for g in shown], whole, shown)):
        lines += _group(group, box, _COLOURS[index % len(_COLOURS)])
    return "\n".join([*lines, "</svg>", ""])


def _group(group: Group, box: _Box, colour: str) -> Iterator[str]:
    parts = sorted((part for part in group.parts if part[1]), key=lambda p: (-p[1], p[0]))
    for inner, (name, size) in _laid_out([size for _, size in parts], box, parts):
        said = f"{group.name}: {name}, {size / 1e6:.1f} MB"
        yield (
            f'<rect x="{inner.x:.1f}" y="{inner.y:.1f}" width="{inner.width:.1f}"'
            f' height="{inner.height:.1f}" fill="{colour}" stroke="white">'
            f"<title>{escape(said)}</title></rect>"
        )
        fits = int((inner.width - 6) / _LETTER)
        if fits >= min(len(name), _LEAST) and inner.height > _LINE:
            label = name if len(name) <= fits else f"{name[: fits - 1]}…"
            yield f'<text x="{inner.x + 3:.1f}" y="{inner.y + 12:.1f}">{escape(label)}</text>'
    yield (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
        ' fill="none" stroke="black" stroke-width="1.5"/>'
    )


def _laid_out(sizes: list[int], box: _Box, items: Sequence[_T]) -> Iterator[tuple[_Box, _T]]:
    """Yield a box for each item; ``sizes`` are descending and over 0."""
    total, start = sum(sizes), 0
    while start < len(sizes):
        scale = box.width * box.height / total
        side = min(box.width, box.height)
        end = start + 1
        while end < len(sizes) and (
            _worst(sizes[start : end + 1], side, scale) <= _worst(sizes[start:end], side, scale)
        ):
            end += 1
        row = sizes[start:end]
        thick = sum(row) * scale / side if side else 0.0
        along = 0.0
        for item, size in zip(items[start:end], row, strict=True):
            length = size * scale / thick if thick else 0.0
            if box.width >= box.height:
                yield _Box(box.x, box.y + along, thick, length), item
            else:
                yield _Box(box.x + along, box.y, length, thick), item
            along += length
        if box.width >= box.height:
            box = _Box(box.x + thick, box.y, max(0.0, box.width - thick), box.height)
        else:
            box = _Box(box.x, box.y + thick, box.width, max(0.0, box.height - thick))
        total, start = total - sum(row), end


def _worst(row: list[int], side: float, scale: float) -> float:
    """Return the largest ratio of two sides in a row that lies along ``side``."""
    area = sum(row) * scale
    if not side or not area:
        return float("inf")
    return max(
        max(side**2 * size * scale / area**2, area**2 / (side**2 * size * scale)) for size in row
    )
