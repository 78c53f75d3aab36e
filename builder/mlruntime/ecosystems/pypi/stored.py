"""A wheel in the store, fetched or built here."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredWheel:
    """A wheel in the store, with the file name the store does not keep."""

    filename: str
    sha256: str
    path: Path
