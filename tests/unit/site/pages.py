"""The site of this checkout, and its pages as a browser would read them."""

from functools import cache
from html.parser import HTMLParser
from posixpath import dirname, join, normpath
from urllib.parse import unquote

from mlruntime.explore.evidence import evidence_tables
from mlruntime.explore.state import evidence_records
from mlruntime.matrix.questions import Asker
from mlruntime.site.building import site
from mlruntime.site.model import SiteContents
from mlruntime.workflows.site import site_contents

from tests.documents import CHECKOUT, DEFINITIONS

# Elements without an end tag.
VOID = {"meta", "link", "input", "br", "hr", "img"}


@cache
def contents() -> SiteContents:
    tables = evidence_tables(evidence_records(CHECKOUT))
    return site_contents(DEFINITIONS, evidence=tables, documentation=CHECKOUT)


@cache
def asker() -> Asker:
    return Asker(contents().matrix)


@cache
def files() -> dict[str, bytes]:
    return site(contents(), asker())


class Page(HTMLParser):
    """What a page has: elements, links, ids, headings, text; its tags must be balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        assert len(known) == len(attrs), f"<{tag}> has an attribute twice"
        self.elements.append((tag, known))
        if "id" in known:
            self.ids.append(known["id"])
        if tag[0] == "h" and tag[1:].isdigit():
            self.headings.append(int(tag[1:]))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> ends another element"

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self) -> list[str]:
        """Return everything that the page loads or leads to."""
        return [a[k] for _, a in self.elements for k in ("href", "src", "action") if k in a]

    def loaded(self) -> list[str]:
        """Return what a browser fetches without being asked."""
        named = ("script", "link", "img", "iframe", "image", "use", "source", "object")
        return [a.get("src") or a.get("href") or "" for t, a in self.elements if t in named]


@cache
def pages() -> dict[str, Page]:
    return {p: Page(c.decode()) for p, c in files().items() if p.endswith(".html")}


def target(page: str, link: str) -> tuple[str, str]:
    """Return the file and the anchor that a link of a page leads to."""
    path, _, anchor = link.partition("#")
    return (normpath(join(dirname(page), unquote(path))) if path else page), unquote(anchor)
