"""Python packages: resolved by uv, unpacked as an installer would, compiled to bytecode."""

from typing import Final

# Its word in matrix.yaml and in locks.
ORIGIN: Final = "pypi"
