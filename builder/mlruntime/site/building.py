"""The whole site: every page, and the data that search and questions use. Core: values in."""

import json
from collections.abc import Iterator
from typing import Any, Final

from mlruntime.documents.tables import Table
from mlruntime.image.sizes import sizes_picture
from mlruntime.matrix.model import Component
from mlruntime.matrix.questions import Asker, releases_of
from mlruntime.matrix.tables import overview, rules_about, span
from mlruntime.matrix.wording import rule_text
from mlruntime.resolve.wording import reason_text
from mlruntime.site.comparing import comparison_path, comparisons
from mlruntime.site.documentation import documentation
from mlruntime.site.model import SiteContents, SiteImage, SiteRuntime
from mlruntime.site.packages import package_rows
from mlruntime.site.questions import question_data, speaks_of
from mlruntime.site.rendering import Pages
from mlruntime.site.searching import search_entries

# Components that the list of runtimes shows.
_MAIN: Final = ("spark", "tensorflow", "keras", "horovod", "python", "java", "cuda")
_ASSETS: Final = ("style.css", "tables.js", "questions.js", "search.js")


def site(contents: SiteContents, asker: Asker | None = None) -> dict[str, bytes]:
    """Return every file of the site by its path; equal contents give equal bytes.

    ``asker`` answers for this matrix, if there is one already.
    """
    asker, pages = asker or Asker(contents.matrix), Pages(contents)
    docs = documentation(contents)
    texts = {
        **dict(_runtimes(pages, contents)),
        **dict(_images(pages, contents)),
        **dict(_comparisons(pages, contents)),
        **dict(_matrix(pages, contents, asker)),
        "get.html": pages.page("get.html", "get.html", title="Pull and verify an image"),
        **{
            path: pages.page(path, "document.html", title=found.title, document=found, docs=docs)
            for path, found in docs.pages.items()
        },
        "search.html": pages.page("search.html", "search.html", title="Search"),
        **{f"assets/{name}": contents.templates[name] for name in _ASSETS},
        "assets/question-data.js": _data("QUESTIONS", question_data(asker, _had(contents))),
        "assets/search-data.js": _data("ENTRIES", search_entries(contents, docs)),
    }
    files = {f"docs/{path}": content for path, content in docs.files.items()}
    return {path: text.encode() for path, text in texts.items()} | files


def _data(name: str, value: Any) -> str:
    """Return a script with data: a page that was opened as a file may not fetch JSON."""
    return f"window.{name} = {json.dumps(value, separators=(',', ':'))};\n"


def _had(contents: SiteContents) -> dict[str, dict[str, str]]:
    return {r.id: r.lock.all_components for r in contents.runtimes if r.lock}


def _runtimes(pages: Pages, contents: SiteContents) -> Iterator[tuple[str, str]]:
    main = [contents.matrix.components[n] for n in _MAIN if n in contents.matrix.components]
    yield (
        "index.html",
        pages.page("index.html", "index.html", title="Runtimes", main=main, shown=_version),
    )
    for runtime in contents.runtimes:
        path = f"runtimes/{runtime.id}.html"
        title = f"Runtime {runtime.id}"
        yield path, pages.page(path, "runtime.html", title=title, runtime=runtime,
                               components=_components(contents, runtime))  # fmt: skip
    yield (
        "packages.html",
        pages.page(
            "packages.html", "packages.html", title="Packages",
            rows=package_rows(contents.runtimes),
            locked=[r.id for r in contents.runtimes if r.images],
        ),
    )  # fmt: skip


def _version(runtime: SiteRuntime, component: Component) -> str:
    """Return the version that a runtime has of a component, or why it has none.

    Without a lock it is the one that would be locked.
    """
    if runtime.lock is None:
        return _chosen(runtime).get(component.name, "-")
    if any(o.component == component.name for o in runtime.lock.all_omitted):
        return "left out"
    return runtime.lock.all_components.get(component.name, "-")


def _chosen(runtime: SiteRuntime) -> dict[str, str]:
    reasons = runtime.resolution.reasons if runtime.resolution else ()
    return {reason.component: reason.spell(reason.version) for reason in reasons}


def _components(contents: SiteContents, runtime: SiteRuntime) -> list[tuple[Component, str, str]]:
    """Return each component of a runtime with its version and the reason for it."""
    reasons = {r.component: r for r in runtime.resolution.reasons} if runtime.resolution else {}
    known = runtime.lock.all_components if runtime.lock else _chosen(runtime)
    return [
        (
            component,
            _version(runtime, component),
            reason_text(reasons[name]) if name in reasons else "a flavour asks for it",
        )
        for name, component in contents.matrix.components.items()
        if name in known
    ]


def _images(pages: Pages, contents: SiteContents) -> Iterator[tuple[str, str]]:
    for image in contents.images:
        path = f"images/{image.slug}.html"
        others = [other for other in contents.images if other is not image]
        yield path, pages.page(path, "image.html", title=f"Image {image.name}", image=image,
                               picture=sizes_picture(image.sizes), layers=_layers(image),
                               others=others, compared=_pair(contents.images))  # fmt: skip


def _layers(image: SiteImage) -> list[tuple[str, int, int]]:
    """Return the layers with packages: their names, how many packages, their bytes."""
    found: dict[str, list[int]] = {}
    for package in image.sizes.packages:
        found.setdefault(package.layer, []).append(package.packed or 0)
    return sorted(((n, len(s), sum(s)) for n, s in found.items()), key=lambda x: (-x[2], x[0]))


def _pair(images: tuple[SiteImage, ...]) -> Any:
    """Return what tells the page of two images, whichever comes first."""
    order = {image.name: place for place, image in enumerate(images)}

    def path(a: SiteImage, b: SiteImage) -> str:
        first, second = (a, b) if order[a.name] < order[b.name] else (b, a)
        return comparison_path(first, second)

    return path


def _comparisons(pages: Pages, contents: SiteContents) -> Iterator[tuple[str, str]]:
    found = {(one.a.name, one.b.name): one for one in comparisons(contents.images)}
    index = "compare/index.html"
    yield index, pages.page(index, "compare.html", title="Compare two images", found=found)
    for one in found.values():
        title = f"From {one.a.name} to {one.b.name}"
        yield one.path, pages.page(one.path, "comparison.html", title=title, one=one)


def _matrix(pages: Pages, contents: SiteContents, asker: Asker) -> Iterator[tuple[str, str]]:
    matrix, index = contents.matrix, "matrix/index.html"
    yield index, pages.page(index, "matrix.html", title="What goes with what",
                            tables=overview(matrix, asker), span=span)  # fmt: skip
    for name, component in matrix.components.items():
        path = f"matrix/{name}.html"
        rules = rules_about(matrix, name)
        yield path, pages.page(path, "component.html", title=component.title, component=component,
                               rules=rules, rule_text=rule_text,
                               table=_goes_with(contents, asker, component))  # fmt: skip
    yield (
        "rules.html",
        pages.page("rules.html", "rules.html", title="Rules and their evidence",
                   rule_text=rule_text, speaks_of=speaks_of),
    )  # fmt: skip


def _goes_with(contents: SiteContents, asker: Asker, component: Component) -> Table:
    """Return what goes with each release: of the components that anything is said of."""
    found = asker.answers(component)
    components = contents.matrix.components
    # What goes with all releases in the same way says nothing about any.
    differing = [
        name
        for name, one in components.items()
        if not one.part_of and len({answer[name] for _, answer in found if name in answer}) > 1
    ]
    rows = tuple(
        (
            span(component, releases_of(component, mask)),
            *(span(components[n], releases_of(components[n], answer[n])) for n in differing),
        )
        for mask, answer in found
    )
    return Table(title="Goes with", columns=(component.name, *differing), rows=rows)
