"""What an ecosystem is asked for: an artifact of a component, by name. Core: no I/O."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestedArtifact:
    """One artifact that a component consists of, in some variants.

    ``provides`` are the packages that it is under another name; ``extras``, ``pin`` and
    ``excludes`` are those of its ``ArtifactTemplate``, and ``version`` is its component's.
    """

    component: str
    origin: str
    name: str
    version: str
    variants: tuple[str, ...]
    provides: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    pin: str = "exact"
    excludes: tuple[str, ...] = ()

    def requirement(self, version: str) -> str:
        """Return what the package index is asked for (PEP 508), ``version`` being published."""
        name = f"{self.name}[{','.join(self.extras)}]" if self.extras else self.name
        return name + {"exact": f"=={version}", "prefix": f"=={version}.*", "free": ""}[self.pin]

    @property
    def match_spec(self) -> str:
        """Return what channels are asked for (conda's match specification)."""
        limit = {"exact": f" =={self.version}", "prefix": f" {self.version}.*", "free": ""}
        return self.name + limit[self.pin]
