"""Every package of every runtime, side by side. Core: a pure function."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mlruntime.site.model import SiteImage, SiteRuntime


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageRow:
    """A package: for each runtime its versions there, each with the smallest images that have it.

    ``anchor`` identifies its row on the page.
    """

    name: str
    kind: str
    anchor: str
    versions: tuple[tuple[str, ...], ...]


def package_rows(runtimes: Iterable[SiteRuntime]) -> tuple[PackageRow, ...]:
    """Return a row for each package, by name."""
    found: dict[tuple[str, str], dict[str, dict[str, list[str]]]] = {}
    locked = [runtime for runtime in runtimes if runtime.images]
    for runtime in locked:
        for image in runtime.images:
            for package in image.sizes.packages:
                versions = found.setdefault((package.name, package.kind), {})
                tags = versions.setdefault(runtime.id, {}).setdefault(package.version, [])
                tags.append(image.tag)
    return tuple(
        PackageRow(
            name=name,
            kind=kind,
            anchor=re.sub(r"[^\w.-]", "-", f"{kind}-{name}"),
            versions=tuple(
                tuple(_told(versions.get(runtime.id, {}), runtime.images)) for runtime in locked
            ),
        )
        for (name, kind), versions in sorted(found.items())
    )


def _told(versions: dict[str, list[str]], images: Sequence[SiteImage]) -> Iterator[str]:
    """Yield each version, with the images that have it first, one for each variant.

    Those of later flavours have it too. Nothing is said where all images have it.
    """
    for version, tags in versions.items():
        if len(tags) == len(images):
            yield version
            continue
        first: dict[str, str] = {}
        for image in images:
            if image.tag in tags:
                first.setdefault(image.variant, image.tag)
        yield f"{version} (from {', '.join(first.values())})"
