"""The project's Markdown as HTML, its links leading to pages of the site. Core: text to text."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from posixpath import dirname, normpath
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

_EXTERNAL: Final = re.compile(r"[a-z][a-z0-9+.-]*:")
_FORMATTER: Final = HtmlFormatter(nowrap=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentationPage:
    """A page of the documentation: ``headings`` are (level, id, text), its title the first."""

    title: str
    html: str
    headings: tuple[tuple[int, str, str], ...]


# Where a link leads in the site, from a path in the project; ``None`` for what is not in the site.
Target = Callable[[str], str | None]


def document(text: str, *, path: str, target: Target) -> DocumentationPage:
    """Return a Markdown file as HTML. Links to what is not in the site become plain text."""
    parser = _parser()
    tokens = _without_empty_heads(parser.parse(text))
    headings = tuple(_headings(tokens))
    for token in tokens:
        if token.type == "inline" and token.children:
            token.children = _linked(token.children, path, target)
    html = parser.renderer.render(tokens, parser.options, {})
    title = headings[0][2] if headings else path
    return DocumentationPage(title=title, html=html, headings=headings)


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"highlight": _highlighted}).enable("table")
    parser.add_render_rule("html_block", _raw)
    parser.add_render_rule("html_inline", _raw)
    parser.add_render_rule("fence", _fence)
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
    parser.add_render_rule("th_open", _th_open)
    return parser


def _raw(_self: Any, tokens: Sequence[Token], index: int, *_: Any) -> str:
    """Leave comments out; other HTML is shown as it is written, never taken as HTML."""
    content = tokens[index].content
    return "" if content.lstrip().startswith("<!--") else escape(content)


def _fence(_self: Any, tokens: Sequence[Token], index: int, *_: Any) -> str:
    token = tokens[index]
    language = token.info.strip().split(" ")[0]
    # Who uses the keyboard scrolls what has the focus.
    return f'<pre tabindex="0"><code>{_highlighted(token.content, language, "")}</code></pre>\n'


def _highlighted(code: str, language: str, _attributes: str) -> str:
    try:
        lexer = get_lexer_by_name(language or "text")
    except ClassNotFound:
        return escape(code)
    return str(highlight(code, lexer, _FORMATTER))


def _table_open(*_: Any) -> str:
    return '<div class="wide" tabindex="0"><table>\n'


def _table_close(*_: Any) -> str:
    return "</table></div>\n"


def _th_open(*_: Any) -> str:
    return '<th scope="col">'


def _without_empty_heads(tokens: list[Token]) -> list[Token]:
    """Leave the headings of a table out if none has a text: Markdown has no table without."""
    found: list[Token] = []
    head: list[Token] | None = None
    for token in tokens:
        if token.type == "thead_open":
            head = []
        if head is None:
            found.append(token)
            continue
        head.append(token)
        if token.type == "thead_close":
            found += head if any(t.content for t in head if t.type == "inline") else []
            head = None
    return found


def _headings(tokens: Sequence[Token]) -> list[tuple[int, str, str]]:
    """Give each heading an id, as code hosts make them, and return them all."""
    found: list[tuple[int, str, str]] = []
    seen: dict[str, int] = {}
    for token, inline in pairwise(tokens):
        if token.type != "heading_open":
            continue
        text = "".join(
            child.content
            for child in inline.children or ()
            if child.type in ("text", "code_inline")
        )
        slug = slugged(text)
        seen[slug] = seen.get(slug, -1) + 1
        name = f"{slug}-{seen[slug]}" if seen[slug] else slug
        token.attrSet("id", name)
        found.append((int(token.tag[1:]), name, text))
    return found


def slugged(text: str) -> str:
    """Return a heading's anchor: small letters, digits, dashes and underscores."""
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def _linked(children: Sequence[Token], path: str, target: Target) -> list[Token]:
    found: list[Token] = []
    dropped: list[bool] = []
    for child in children:
        if child.type == "link_open":
            href = _rewritten(str(child.attrs["href"]), path, target)
            dropped.append(href is None)
            if href is not None:
                child.attrSet("href", href)
        if child.type == "link_close":
            gone = dropped.pop()
        else:
            gone = child.type == "link_open" and dropped[-1]
        if not gone:
            found.append(child)
    return found


def _rewritten(href: str, path: str, target: Target) -> str | None:
    if _EXTERNAL.match(href) or href.startswith("#"):
        return href
    file, hash_, anchor = href.partition("#")
    where = target(normpath(f"{dirname(path)}/{file}") if dirname(path) else normpath(file))
    return None if where is None else where + hash_ + anchor
