"""What a reader can search for. Core: a pure function."""

from collections.abc import Iterator

from mlruntime.site.documentation import Documentation
from mlruntime.site.model import SiteContents
from mlruntime.site.packages import package_rows

# (what it is, its name, what is said of it, where it is)
Entry = tuple[str, str, str, str]


def search_entries(contents: SiteContents, docs: Documentation) -> list[Entry]:
    """Return everything that has a name, in the order in which equally good results are shown."""
    return [*_runtimes(contents), *_matrix(contents), *_documents(docs), *_packages(contents)]


def _runtimes(contents: SiteContents) -> Iterator[Entry]:
    for runtime in contents.runtimes:
        yield "runtime", runtime.id, runtime.definition.summary, f"runtimes/{runtime.id}.html"
        for one in runtime.versions:
            told = one.retired or ", ".join(one.channels)
            yield "version", one.version, told, f"runtimes/{runtime.id}.html#{one.version}"
        for image in (*runtime.images, *(i for one in runtime.versions for i in one.images)):
            packages = f"{len(image.sizes.packages)} packages"
            yield "image", image.name, packages, f"images/{image.slug}.html"


def _matrix(contents: SiteContents) -> Iterator[Entry]:
    for name, component in contents.matrix.components.items():
        yield "component", component.title, component.summary, f"matrix/{name}.html"
    for rule in contents.matrix.rules:
        yield "rule", rule.id, rule.says, f"rules.html#{rule.id}"


def _documents(docs: Documentation) -> Iterator[Entry]:
    for path, found in docs.pages.items():
        yield "documentation", found.title, "", path
        for level, anchor, text in found.headings[1:]:
            if level <= 3:
                yield "documentation", text, found.title, f"{path}#{anchor}"


def _packages(contents: SiteContents) -> Iterator[Entry]:
    locked = [runtime.id for runtime in contents.runtimes if runtime.images]
    for row in package_rows(contents.runtimes):
        told = "; ".join(
            f"{runtime}: {', '.join(versions)}"
            for runtime, versions in zip(locked, row.versions, strict=True)
            if versions
        )
        yield "package", row.name, f"{row.kind}, {told}", f"packages.html#{row.anchor}"
