"""The ecosystems there are: one line for each. ``matrix.model`` lists their origins."""

from collections.abc import Mapping
from typing import Final

from mlruntime.ecosystems.conda.ecosystem import Conda
from mlruntime.ecosystems.debian.ecosystem import Debian
from mlruntime.ecosystems.maven.ecosystem import Maven
from mlruntime.ecosystems.model import Ecosystem
from mlruntime.ecosystems.pypi.ecosystem import Pypi

_ALL: Final[tuple[Ecosystem, ...]] = (Pypi(), Debian(), Maven(), Conda())
ECOSYSTEMS: Final[Mapping[str, Ecosystem]] = {one.origin: one for one in _ALL}
