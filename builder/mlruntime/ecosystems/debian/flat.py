"""A flat APT repository of some packages, for what installs them in a container."""

from collections.abc import Iterable
from pathlib import Path

from mlruntime.ecosystems.debian.packages import read_package
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import link_or_copy


def write_repository(directory: Path, packages: Iterable[tuple[Artifact, Path]]) -> None:
    """Lay the packages out as a flat APT repository with an index, nothing else in it."""
    paragraphs = []
    for artifact, path in packages:
        link_or_copy(path, directory / artifact.filename)
        paragraphs.append(
            f"{read_package(artifact, path).paragraph.rstrip()}\n"
            f"Filename: ./{artifact.filename}\n"
            f"Size: {artifact.size}\n"
            f"SHA256: {artifact.sha256}\n"
        )
    (directory / "Packages").write_text("\n".join(paragraphs), encoding="utf-8")
