"""Jars from a repository in Maven's layout."""

from typing import Final

# Its word in matrix.yaml and in locks.
ORIGIN: Final = "maven"
