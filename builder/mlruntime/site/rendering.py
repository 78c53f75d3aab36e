"""Pages from templates. Core: values in, text out."""

from typing import Any, Final
from urllib.parse import quote

import jinja2
from markupsafe import Markup
from packageurl.contrib.purl2url import get_repo_url

from mlruntime.matrix.model import EXPLORED, MEASURED
from mlruntime.site.model import SiteContents

# What the top of each page leads to.
NAVIGATION: Final = (
    ("index.html", "Runtimes"),
    ("compare/index.html", "Compare"),
    ("packages.html", "Packages"),
    ("matrix/index.html", "Compatibility"),
    ("rules.html", "Evidence"),
    ("get.html", "Pull and verify"),
    ("docs/index.html", "Documentation"),
)


class Pages:
    """Renders pages: each knows how deep it is, and which entry of the navigation it is below."""

    def __init__(self, contents: SiteContents) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.DictLoader(dict(contents.templates)),
            undefined=jinja2.StrictUndefined,
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._environment.filters |= {"mb": _mb, "source": source, "cell": _cell, "quoted": quote}
        self._environment.globals |= {
            "version": contents.version,
            "navigation": NAVIGATION,
            "matrix": contents.matrix,
            "contents": contents,
        }

    def page(self, path: str, template: str, *, title: str, **known: Any) -> str:
        """Return the page at ``path``, written by a template."""
        depth = path.count("/")
        return self._environment.get_template(template).render(
            known | {"path": path, "top": "../" * depth, "title": title, "area": _area(path)}
        )


def _area(path: str) -> str:
    """Return the entry of the navigation that a page is below; runtimes have their images."""
    folder, slash, _ = path.partition("/")
    own = f"{folder}/index.html" if slash else path
    entries = [target for target, _ in NAVIGATION]
    return own if own in entries else "index.html" if path != "search.html" else ""


def _mb(size: int | None) -> str:
    if size is None:
        return "unknown"
    return f"{size / 1e6:.1f} MB" if size >= 50_000 else f"{size / 1e3:.1f} kB"


def _cell(text: str) -> str:
    """Return a table's cell; a dash stands for nothing, and what is in backticks is code."""
    if text in ("", "-"):
        return "–"  # noqa: RUF001
    if len(text) > 2 and text[0] == text[-1] == "`":
        return Markup("<code>{}</code>").format(text[1:-1])
    if "-" in text and " " not in text:  # else it is broken at the dash
        return Markup('<span class="one">{}</span>').format(text)
    return text


def source(text: str) -> Markup:
    """Return where a fact is from, with a link where that is an address or a package."""
    for word in (MEASURED, EXPLORED):
        if text.startswith(word):
            return Markup("{}{}").format(word, text.removeprefix(word))
    href = text
    if text.startswith("pkg:"):
        href = get_repo_url(text) or ""  # type: ignore[no-untyped-call]
    if not href.startswith(("https://", "http://")):
        return Markup("{}").format(text)
    return Markup('<a rel="noreferrer" href="{}">{}</a>').format(href, text)
