"""What packages of an image say, and locks do not: read in its files. Core: no I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mlruntime.ecosystems.model import Bundled
from mlruntime.lock.packages import Artifact


@dataclass(frozen=True, kw_only=True, slots=True)
class Inside:
    """Sources of packages, as (name, version) by owner, and packages that are in files of others.

    ``unnamed`` are such files that do not say what they have in them.
    """

    sources: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    bundled: tuple[Bundled, ...] = ()
    unnamed: tuple[str, ...] = ()

    def beside(self, locked: Iterable[Artifact]) -> "Inside":
        """Return it without what a lock has itself, and each package once."""
        known = {(a.name, a.version) for a in locked}
        files = {a.filename for a in locked}
        once: dict[tuple[str, str], Bundled] = {}
        for one in sorted(self.bundled):
            if (one.name, one.version) not in known:
                once.setdefault((one.name, one.version), one)
        unnamed = (f for f in self.unnamed if f.rpartition("/")[2] not in files)
        return Inside(sources=self.sources, bundled=tuple(once.values()), unnamed=tuple(unnamed))


NOTHING_INSIDE: Final = Inside()
