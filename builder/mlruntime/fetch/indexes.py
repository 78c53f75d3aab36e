"""Package indexes: what those of this host list of a project (PEP 503, PEP 691)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlruntime.errors import Unavailable
from mlruntime.host.settings import Sources, without_secrets

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage

    from mlruntime.fetch.web import Web

_SIMPLE = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectListing:
    """What one index, by its address, lists of a project."""

    index: str
    files: "tuple[DistributionPackage, ...]"


def project_listings(sources: Sources, web: "Web", project: str) -> Iterator[ProjectListing]:
    """Yield what each index that knows the project lists of it; nothing when none does.

    Only an index that answers "not found" is passed over: a refusal raises ``Unavailable``.
    """
    for index in sources.indexes:
        answer = web.text(f"{index}{project}/", accept=_SIMPLE, part="pypi")
        if answer is None:
            continue
        url, kind, text = answer
        # Imported late: it takes half a second, and a build that downloads nothing does without.
        from pypi_simple import ProjectPage, UnsupportedRepoVersionError

        try:
            if "json" in kind:
                page = ProjectPage.from_json_data(json.loads(text), base_url=url)
            else:
                page = ProjectPage.from_html(project, text, base_url=url)
        except UnsupportedRepoVersionError as error:
            raise Unavailable(
                f"{without_secrets(url)} speaks a newer version of the API of package indexes",
                why=str(error),
                hint="a newer mlruntime may know it; or name another index",
            ) from None
        except (ValueError, RecursionError) as error:
            raise Unavailable(
                f"{without_secrets(url)} is not a package index", why=str(error)
            ) from None
        yield ProjectListing(index=index, files=tuple(page.packages))


def project_files(
    sources: Sources, web: "Web", project: str
) -> "dict[str, list[DistributionPackage]]":
    """Return a project's files by name, from every index that has them, in the indexes' order."""
    files: dict[str, list[DistributionPackage]] = {}
    for listing in project_listings(sources, web, project):
        for file in listing.files:
            files.setdefault(file.filename, []).append(file)
    return files
