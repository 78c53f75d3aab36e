"""The site: every page, what it says and where it leads."""

import json
import re
from dataclasses import replace
from datetime import date

import html5lib
import pytest
from mlruntime.definitions.lifecycle import Lifecycle
from mlruntime.matrix.wording import rule_text
from mlruntime.site.building import site
from mlruntime.site.comparing import comparisons
from mlruntime.site.model import SiteContents
from mlruntime.site.rendering import source

from tests.unit.site.pages import Page, asker, contents, files, pages, target

EXTERNAL = re.compile(r"https?://")


def few() -> SiteContents:
    """All that the site says, with two images of one runtime: pages of any two take the longest."""
    runtime = next(runtime for runtime in contents().runtimes if runtime.images)
    return replace(contents(), runtimes=(replace(runtime, images=runtime.images[:2]),))


def data(name: str) -> list[list[str]]:
    text = files()[f"assets/{name}"].decode()
    return json.loads(text.partition("=")[2].strip().removesuffix(";"))


def test_every_link_leads_somewhere() -> None:
    broken = [
        (page, link)
        for page, found in pages().items()
        for link in found.links()
        if not EXTERNAL.match(link) and link != "data:,"
        for path, anchor in [target(page, link)]
        if path not in files() or (anchor and anchor not in pages()[path].ids)
    ]
    assert broken == []


def test_every_page_can_be_reached_and_every_search_result_is_there() -> None:
    linked = {target(p, link)[0] for p, found in pages().items() for link in found.links()}
    assert pages().keys() - linked == set()
    for kind, name, _, where in data("search-data.js"):
        path, _, anchor = where.partition("#")
        assert not anchor or anchor in pages()[path].ids, (kind, name)
        assert path in pages(), (kind, name)


def test_nothing_is_fetched_from_elsewhere() -> None:
    for page, found in pages().items():
        for link in found.loaded():
            assert link == "data:," or target(page, link)[0] in files(), (page, link)
    for name, content in files().items():
        if name.startswith("assets/"):
            text = content.decode()
            calls = (
                r"@import|url\(|\bfetch\(|XMLHttpRequest|import\(|WebSocket|sendBeacon|//[a-z]+\."
            )
            # What data says of sources is text.
            assert name.endswith("-data.js") or not re.search(calls, text), name


def test_headings_are_in_order_and_ids_are_unique() -> None:
    for page, found in pages().items():  # no parameters: pages are not made to collect tests
        assert found.headings[0] == 1 and found.headings.count(1) == 1, page
        steps = zip(found.headings, found.headings[1:], strict=False)
        assert all(after <= before + 1 for before, after in steps), (page, found.headings)
        assert sorted(set(found.ids)) == sorted(found.ids), page
        tags = [tag for tag, _ in found.elements]
        assert tags.count("main") == 1 and tags.count("title") >= 1, page
        assert found.elements[0] == ("html", {"lang": "en"}), page


def test_pages_are_html_as_the_standard_has_it() -> None:
    """One page of each kind: the parser is thorough, and slow."""
    image, *_ = contents().images
    pair = next(iter(comparisons(contents().images)))
    chosen = [p for p in pages() if p.count("/") == 0]
    chosen += ["compare/index.html", "matrix/index.html", "matrix/tensorflow.html", pair.path]
    chosen += [f"images/{image.slug}.html", "docs/index.html", "docs/architecture.html"]
    chosen += [f"runtimes/{runtime.id}.html" for runtime in contents().runtimes]
    for page in chosen:
        html5lib.HTMLParser(strict=True).parse(files()[page].decode())
    with pytest.raises(html5lib.html5parser.ParseError):
        html5lib.HTMLParser(strict=True).parse("<!DOCTYPE html><p><table><p></table>")


def test_every_image_has_its_packages_and_their_sizes() -> None:
    assert len(contents().images) > 5
    for image in contents().images:
        whole = image.lock.whole(image.variant)
        text = files()[f"images/{image.slug}.html"].decode()
        for one in (*whole.os, *whole.python, *whole.jars):
            assert f'<th scope="row">{one.name}</th><td>{one.version}</td>' in text
        for wheel in whole.native:
            assert f'<th scope="row">{wheel.name}</th>' in text
        sizes = [a.size for a in (*whole.os, *whole.python, *whole.jars)]
        assert image.download == sum(sizes) + sum(w.sdist.size for w in whole.native)
        assert (
            f"{image.download / 1e6:.1f} MB of downloads"
            in pages()[f"images/{image.slug}.html"].text
        )
        assert text.count("<rect") >= len(image.sizes.packages)


def test_any_two_images_are_compared_by_the_diff_that_the_verb_shows() -> None:
    images = contents().images
    found = list(comparisons(images))
    assert len(found) == len(images) * (len(images) - 1) // 2
    for one in found:
        before = {a.name: a.version for a in one.a.lock.whole(one.a.variant).python}
        after = {a.name: a.version for a in one.b.lock.whole(one.b.variant).python}
        changed = {n for n in before.keys() & after.keys() if before[n] != after[n]}
        text = files()[one.path].decode()
        assert all(
            f'<th scope="row">{n}</th><td>{before[n]}</td><td>{after[n]}</td><td>changed</td>'
            in text
            for n in changed
        )
        assert str(one.count) in pages()["compare/index.html"].text


def test_every_rule_has_its_evidence_and_a_link_to_its_source() -> None:
    text = files()["rules.html"].decode()
    said = pages()["rules.html"].text
    for rule in contents().matrix.rules:
        assert f'id="{rule.id}"' in text
        assert rule.says in said and rule_text(rule) in said and rule.source in said
    linked = [link for link in pages()["rules.html"].links() if EXTERNAL.match(link)]
    sources = {r.source for r in contents().matrix.rules if r.source.startswith(("http", "pkg:"))}
    assert len(set(linked)) == len({source(text) for text in sources})
    assert len(contents().evidence[0].rows) > 3
    assert contents().evidence[0].title in said


def test_the_page_of_a_component_answers_for_each_release() -> None:
    text = files()["matrix/tensorflow.html"].decode()
    rows = dict(re.findall(r'<th scope="row">([^<]+)</th>(.*)</tr>', text))
    assert any(name.startswith("2.18.") and "3.12" in row for name, row in rows.items())


def test_a_runtime_says_how_long_it_lives_and_why_its_versions() -> None:
    for runtime in contents().runtimes:
        said = pages()[f"runtimes/{runtime.id}.html"].text
        assert runtime.definition.summary in said
        assert "How long it is supported" in said
        for omission in runtime.lock.all_omitted if runtime.lock else ():
            assert omission.why in said
    assert "is not locked" in pages()["runtimes/5.0-ml.html"].text


def test_a_registry_is_in_the_commands() -> None:
    assert "REGISTRY/REPOSITORY:6.0-ml-cpu" in pages()["get.html"].text
    found = site(replace(few(), registry="example.org/ml"), asker())["get.html"].decode()
    assert "docker pull example.org/ml:6.0-ml-cpu" in found
    assert "REGISTRY" not in found


def test_what_is_written_in_definitions_is_text_and_never_html() -> None:
    runtime = contents().runtimes[0]
    evil = "<script>alert(1)</script>&amp;"
    told = replace(runtime, definition=replace(runtime.definition, summary=evil))
    found = site(replace(contents(), runtimes=(told,), documents={
        "README.md": f"# A `b`\n\n{evil} [x](javascript:alert(1))\n\n<img src=x onerror=y>\n\n"
    }), asker())  # fmt: skip
    for name, content in found.items():
        text = content.decode()
        if name.endswith(".html"):
            assert "<script>" not in text and "<img" not in text, name
            assert 'href="javascript' not in text
    assert "&lt;script&gt;" in found["index.html"].decode()


def test_a_site_without_images_is_whole_too() -> None:
    (heritage,) = (runtime for runtime in contents().runtimes if not runtime.images)
    for runtimes in ((), (heritage,)):
        found = site(replace(contents(), runtimes=runtimes, evidence=()), asker())
        html = {p: Page(c.decode()) for p, c in found.items() if p.endswith(".html")}
        assert {
            link
            for page, one in html.items()
            for link in one.links()
            if not EXTERNAL.match(link) and link != "data:," and target(page, link)[0] not in found
        } == set()
        assert "no two images" in html["compare/index.html"].text


def test_dates_of_support_are_shown() -> None:
    runtime = contents().runtimes[1]
    dates = Lifecycle(released=date(2026, 1, 2), end_of_support=date(2027, 3, 4))
    told = replace(runtime, definition=replace(runtime.definition, lifecycle=dates), images=())
    found = site(replace(contents(), runtimes=(told,)), asker())
    for page in ("index.html", f"runtimes/{runtime.id}.html"):
        assert "2026-01-02" in found[page].decode() and "2027-03-04" in found[page].decode()
