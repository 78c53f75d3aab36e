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

    ``canonical`` returns a package's name as the registry knows it. What is locked of an ecosystem
    that is ``joined`` depends on others, as wheels do on Debian's C library: ``locking`` has the
    order of these, and what each is told of the others.
    """

    canonical: Callable[[str], str] = str
    extras: bool = False
    pins: bool = False
    provides: bool = False
    excludes: bool = False
    joined: bool = False


ORIGINS: Final[Mapping[str, OriginTraits]] = {
    "pypi": OriginTraits(
        canonical=canonicalize_name, extras=True, pins=True, provides=True, joined=True
    ),
    "debian": OriginTraits(joined=True),
    "maven": OriginTraits(excludes=True, joined=True),
    "conda": OriginTraits(pins=True, joined=True),
}

if TYPE_CHECKING:
    Origin = str
else:
    Origin = Literal[tuple(ORIGINS)]
