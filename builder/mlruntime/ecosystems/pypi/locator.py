"""Where a Python package's files are: in the package indexes of this host."""

from typing import TYPE_CHECKING, Final

from mlruntime.errors import HashMismatch
from mlruntime.fetch.indexes import project_files
from mlruntime.host.settings import Sources, without_secrets
from mlruntime.host.tasks import Once
from mlruntime.lock.packages import Artifact

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage

    from mlruntime.fetch.web import Web


class PypiLocator:
    """Asks the indexes, once for each project."""

    hint: Final = (
        "lock again with `mlruntime lock`, or set UV_DEFAULT_INDEX to the index that it was locked"
        " from"
    )

    def __init__(self, sources: Sources, web: "Web") -> None:
        self._sources = sources
        self._web = web
        self._pages: Once[str, dict[str, list[DistributionPackage]]] = Once()

    def urls(self, artifact: Artifact) -> tuple[str, ...]:
        """Return the file's addresses, those that promise the locked hash first."""
        return _by_hash(artifact, self._page(artifact.name).get(artifact.filename, []))

    def _page(self, project: str) -> "dict[str, list[DistributionPackage]]":
        """Return a project's files; look-ups of several projects run at once."""
        return self._pages.of(project, lambda: project_files(self._sources, self._web, project))


def _by_hash(artifact: Artifact, files: "list[DistributionPackage]") -> tuple[str, ...]:
    """Return the addresses of a file by this name, those that promise the locked hash first.

    Raises ``HashMismatch`` when every index has other bytes under this name.
    """
    told = [(file.digests.get("sha256"), file) for file in files]
    right = [file.url for sha256, file in told if sha256 == artifact.sha256]
    unknown = [file.url for sha256, file in told if sha256 is None]
    if files and not right and not unknown:
        raise HashMismatch(
            f"{artifact.filename} is not the file that was locked",
            where=", ".join(without_secrets(file.url) for file in files),
            why=f"the lock has sha256 {artifact.sha256}, the index {told[0][0]}",
            hint="set the index that it was locked from; if the change is intended, run"
            " `mlruntime lock` again",
        )
    return (*right, *unknown)
