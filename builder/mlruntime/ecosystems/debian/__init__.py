"""Debian packages: resolved by apt, unpacked as dpkg would."""

from typing import Final

# Its word in matrix.yaml and in locks.
ORIGIN: Final = "debian"
