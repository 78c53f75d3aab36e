"""What resolving gives: versions with reasons, or a conflict."""

from collections.abc import Callable
from dataclasses import dataclass, field

from packaging.version import Version

from mlruntime.matrix.encoding import RequestLine
from mlruntime.matrix.model import Rule


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why a component has its version.

    ``requested`` is the request's specifier, or ``None`` when the component was drawn in by the
    rules ``needed_by``. ``newest`` is the newest release there is, ``newest_requested`` the newest
    that the request allows; ``bounded_by`` are the rules that between them exclude every release
    which the request allows and which is preferred to the chosen one. ``spell`` returns a release
    as the matrix spells it.
    """

    component: str
    version: Version
    requested: str | None
    newest: Version
    newest_requested: Version
    needed_by: tuple[Rule, ...]
    bounded_by: tuple[Rule, ...]
    spell: Callable[[Version], str] = field(default=str, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """Versions of all components that take part, in order of preference, and why."""

    versions: tuple[tuple[str, Version], ...]
    reasons: tuple[Reason, ...]

    def version(self, component: str) -> Version | None:
        """Return the chosen version of a component, ``None`` when it takes no part."""
        return dict(self.versions).get(component)


@dataclass(frozen=True, kw_only=True, slots=True)
class Replacement:
    """What to ask for instead of ``line``: ``version``, or nothing at all (``None``)."""

    line: RequestLine
    version: Version | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """``lines`` and ``rules`` have no common solution; without any one of them they have.

    ``changes`` are alternatives, the nearest first; each makes the *whole* request solvable and
    replaces as few lines as possible.
    """

    lines: tuple[RequestLine, ...]
    rules: tuple[Rule, ...]
    changes: tuple[tuple[Replacement, ...], ...]
