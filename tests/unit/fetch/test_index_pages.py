"""Pages of package indexes, whatever bytes they are: files, or a sentence about the index."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.errors import Unavailable
from mlruntime.fetch.indexes import project_listings

from tests.unit.damaged import damaged, other_values

PAGE: dict[str, Any] = {
    "meta": {"api-version": "1.1"},
    "name": "toy",
    "versions": ["1"],
    "files": [
        {
            "filename": "toy-1-py3-none-any.whl",
            "url": "https://files.example.org/toy-1-py3-none-any.whl",
            "hashes": {"sha256": "0" * 64},
            "requires-python": ">=3.8",
            "size": 12,
            "upload-time": "2026-01-01T00:00:00.000000Z",
            "yanked": False,
        }
    ],
}
HTML = b"""<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.0"></head>
<body><a href="https://files.example.org/toy-1.tar.gz#sha256=%s" data-requires-python="&gt;=3.8">
toy-1.tar.gz</a><a href="toy-2.zip" data-yanked="why">toy-2.zip</a></body></html>""" % (b"0" * 64)


class Index:
    """One index, which answers with a page."""

    indexes = ("https://index.example.org/simple/",)

    def __init__(self, content: bytes, kind: str) -> None:
        self.content, self.kind = content, kind

    def text(self, url: str, **_: Any) -> tuple[str, str, str]:
        return url, self.kind, self.content.decode("utf-8", "replace")


def names(content: bytes, kind: str) -> list[str]:
    index: Any = Index(content, kind)
    (listing,) = project_listings(index, index, "toy")
    return [file.filename for file in listing.files]


def test_whole_pages_are_read() -> None:
    assert names(json.dumps(PAGE).encode(), "application/vnd.pypi.simple.v1+json") == [
        "toy-1-py3-none-any.whl"
    ]
    assert names(HTML, "text/html") == ["toy-1.tar.gz", "toy-2.zip"]


@pytest.mark.filterwarnings("ignore::pypi_simple.UnexpectedRepoVersionWarning")
@given(other_values(PAGE) | damaged(json.dumps(PAGE).encode()))
def test_a_json_page_is_read_or_told(content: bytes) -> None:
    try:
        names(content, "application/vnd.pypi.simple.v1+json")
    except Unavailable as error:
        assert "index.example.org" in error.what


@pytest.mark.filterwarnings("ignore::pypi_simple.UnexpectedRepoVersionWarning")
@given(damaged(HTML) | st.binary(max_size=60))
def test_a_page_of_html_is_read_or_told(content: bytes) -> None:
    try:
        names(content, "text/html")
    except Unavailable as error:
        assert "index.example.org" in error.what


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (json.dumps(PAGE | {"meta": {"api-version": "2.0"}}).encode(), "speaks a newer version"),
        (b"[" * 100_000, "is not a package index"),
    ],
)
def test_what_nobody_can_read_is_told(content: bytes, what: str) -> None:
    with pytest.raises(Unavailable, match=what):
        names(content, "application/vnd.pypi.simple.v1+json")
