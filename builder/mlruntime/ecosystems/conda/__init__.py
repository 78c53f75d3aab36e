"""Conda packages: from channels, solved by rattler, unpacked by us."""

from typing import Final

# The word that artifacts' origins start with: ``conda:SUBDIR:CHANNEL``.
ORIGIN: Final = "conda"
# The platform of the images, and what every platform shares, as channels call them.
SUBDIRS: Final = ("linux-64", "noarch")
