"""What Debian's releases have of a component, by the names of their packages."""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from packaging.version import Version

from mlruntime.ecosystems.debian.archive import Archive
from mlruntime.errors import MlruntimeError, Unavailable
from mlruntime.host.settings import Sources
from mlruntime.host.tasks import Once, TaskGroup
from mlruntime.matrix.model import PLACEHOLDER, ArtifactTemplate, Component, Matrix
from mlruntime.matrix.news import Release

_AT_ONCE: Final = 4


class DebianUpstream:
    """The Debian releases of the matrix, each read once.

    ``scratch`` is an empty directory for apt.
    """

    def __init__(
        self,
        sources: Sources,
        scratch: Path,
        archive: Callable[[Sources, str, Path], Archive] = Archive,
    ) -> None:
        self._sources = sources
        self._scratch = scratch
        self._archive = archive
        self._names: Once[str, frozenset[str] | str] = Once()

    def releases(
        self, matrix: Matrix, component: Component, artifact: ArtifactTemplate
    ) -> tuple[Release, ...]:
        """Return the releases that packages are named after."""
        template = artifact.name
        pattern = re.compile(_named(template, component.name))
        found: set[Version] = set()
        failures = []
        for names in self._all(map(str, matrix.components["debian"].releases)):
            if isinstance(names, str):
                failures.append(names)
                continue
            matches = (pattern.fullmatch(name) for name in names)
            found |= {Version(match[1]) for match in matches if match}
        if not found:
            raise Unavailable("; ".join(failures) or f"no Debian release has {template}")
        return tuple(Release(version=version) for version in found)

    def _all(self, releases: Iterable[str]) -> Iterator[frozenset[str] | str]:
        """Yield what is known of each release; apt reads each once, whoever asks, some at once."""
        with TaskGroup(_AT_ONCE, lambda: None, name="debian") as tasks:
            jobs = [tasks.submit(self._names.of, r, partial(self._packages, r)) for r in releases]
            for job in jobs:
                yield job.result()

    def _packages(self, release: str) -> frozenset[str] | str:
        """Return the names of all packages of a Debian release, or why it cannot be read."""
        root = self._scratch / f"debian-{release}"
        root.mkdir(parents=True)
        try:
            return self._archive(self._sources, release, root).names
        except MlruntimeError as error:
            return error.what


def _named(template: str, component: str) -> str:
    """Return a pattern for the names a template can stand for, the release being group 1."""
    parts, end = [], 0
    for found in PLACEHOLDER.finditer(template):
        parts.append(re.escape(template[end : found.start()]))
        group = r"\d+" if found[2] == "major" else r"\d+\.\d+"
        parts.append(f"({group})" if found[1] == component else f"(?:{group})")
        end = found.end()
    return "".join([*parts, re.escape(template[end:])])
