"""The ecosystems there are, and what ``matrix.yaml`` may say of an artifact of each.

An ecosystem is one line here, and the folder ``ecosystems/ORIGIN``, where ``ecosystem.ECOSYSTEM``
is what it does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from packaging.utils import canonicalize_name


@dataclass(frozen=True, kw_only=True, slots=True)
class OriginTraits:
    """What an artifact of some origin can have: ``extras``, a ``pin``, ``provides``, ``excludes``.

    ``canonical`` returns a package's name as the registry knows it.
    """

    canonical: Callable[[str], str] = str
    extras: bool = False
    pins: bool = False
    provides: bool = False
    excludes: bool = False


ORIGINS: Final[Mapping[str, OriginTraits]] = {
    "pypi": OriginTraits(canonical=canonicalize_name, extras=True, pins=True, provides=True),
    "debian": OriginTraits(),
    "maven": OriginTraits(excludes=True),
    "conda": OriginTraits(pins=True),
}

if TYPE_CHECKING:
    Origin = str
else:
    Origin = Literal[tuple(ORIGINS)]
