"""What a file of another tool asks for, before the matrix is asked. Values only."""

from dataclasses import dataclass, field
from typing import Final

from mlruntime.errors import MlruntimeError

PIP: Final = "pip"
CONDA: Final = "conda"


@dataclass(frozen=True, kw_only=True, slots=True)
class NotTaken:
    """Something of the file that is not in the runtime: ``what``, ``where``, why, what to try."""

    what: str
    where: str
    why: str
    hint: str = ""

    @classmethod
    def of(cls, error: MlruntimeError, where: str) -> "NotTaken":
        """Return what an error says of one item; ``where`` is for one that says none."""
        return cls(
            what=error.what, where=error.where or where, why=error.why or "", hint=error.hint or ""
        )

    @property
    def text(self) -> str:
        """Return it as one line."""
        line = f"{self.where}: {self.what}" + (f" ({self.why})" if self.why else "")
        return line + (f"; try: {self.hint}" if self.hint else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestedPackage:
    """A package that is asked for, by its normalized name.

    ``specifier`` is PEP 440's, ``""`` for any version, ``None`` if that cannot say which; ``spec``
    a conda package's match specification, as it is written. ``marker`` is PEP 508's.
    """

    manager: str
    name: str
    where: str
    specifier: str | None = ""
    spec: str = ""
    extras: tuple[str, ...] = ()
    marker: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Foreign:
    """A file of another tool.

    ``python`` is PEP 440's specifier of the Python versions it is for; ``channels`` are conda's.
    """

    name: str = ""
    python: str = ""
    channels: tuple[str, ...] = ()
    wanted: tuple[RequestedPackage, ...]
    not_taken: tuple[NotTaken, ...] = field(default=())
