"""The project's documentation as pages of the site. Core: values in, values out."""

from collections.abc import Mapping
from dataclasses import dataclass
from posixpath import relpath
from typing import Final

from mlruntime.site.markdown import DocumentationPage, Target, document
from mlruntime.site.model import SiteContents

FOLDER: Final = "docs/"
# A file of the project that is the first page.
_FIRST: Final = "README.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class Documentation:
    """Pages by their path in the site, and files beside them by their path below ``docs/``."""

    pages: Mapping[str, DocumentationPage]
    files: Mapping[str, bytes]


def documentation(contents: SiteContents) -> Documentation:
    """Return every document as a page."""
    where = {path: _page(path) for path in contents.documents}
    where |= {path: path for path in contents.files}
    # What links to a folder gets the first of its files; a folder alone cannot be opened.
    folders = {path.rpartition("/")[0] for path in contents.files} - {"docs"}
    where |= {
        folder: min(path for path in contents.files if path.startswith(f"{folder}/"))
        for folder in folders
    }
    pages = {
        where[path]: document(text, path=path, target=_target(where, where[path]))
        for path, text in sorted(contents.documents.items(), key=lambda d: (d[0] != _FIRST, d[0]))
    }
    files = {path.removeprefix(FOLDER): content for path, content in contents.files.items()}
    return Documentation(pages=pages, files=files)


def _page(path: str) -> str:
    if path == _FIRST:
        return f"{FOLDER}index.html"
    return FOLDER + path.removeprefix(FOLDER).removesuffix(".md").lower() + ".html"


def _target(where: Mapping[str, str], page: str) -> Target:
    def target(path: str) -> str | None:
        found = where.get(path.rstrip("/"))
        return None if found is None else relpath(found, page.rpartition("/")[0])

    return target
