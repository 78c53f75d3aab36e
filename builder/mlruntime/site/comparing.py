"""What differs between any two images, from their locks alone. Core: a pure function."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from mlruntime.documents.tables import Table
from mlruntime.image.difference import Changes, changes, components_of, package_changes, packages_of
from mlruntime.image.difference_tables import changes_table
from mlruntime.site.model import SiteImage


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageComparison:
    """Two images, and what differs: components first, then packages by ecosystem."""

    a: SiteImage
    b: SiteImage
    groups: tuple[tuple[str, Changes], ...]

    @property
    def path(self) -> str:
        """Return where its page is."""
        return comparison_path(self.a, self.b)

    @property
    def count(self) -> int:
        """Return how many packages differ."""
        return sum(len(found.changed) for name, found in self.groups if name != "components")

    @property
    def tables(self) -> list[Table]:
        """Return the differences as tables, those without any left out."""
        names = (self.a.name, self.b.name)
        return [changes_table(name, found, names) for name, found in self.groups if found.changed]


def comparison_path(a: SiteImage, b: SiteImage) -> str:
    """Return where the page of two images is; each pair has one, in the order of the site."""
    return f"compare/{a.slug}--{b.slug}.html"


def comparisons(images: tuple[SiteImage, ...]) -> Iterator[ImageComparison]:
    """Compare each image with each that comes after it."""
    components = {image.name: components_of(image.lock, image.variant) for image in images}
    packages = {image.name: packages_of(image.lock, image.variant) for image in images}
    for a, b in combinations(images, 2):
        found = {
            "components": changes(components[a.name], components[b.name]),
            **package_changes(packages[a.name], packages[b.name]),
        }
        yield ImageComparison(a=a, b=b, groups=tuple(found.items()))
