"""Asking about everything that a reference names: an image, or an index with its images."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from mlruntime.documents.oci import INDEX_TYPE, Document
from mlruntime.errors import HashMismatch, UsageError
from mlruntime.release.checking import Answer, check, check_index
from mlruntime.release.examined import Source
from mlruntime.release.publishing import VARIANT
from mlruntime.release.signing import PublicKey


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """The answers: about the index, where there is one, and about each image by its name."""

    index: Answer | None
    images: tuple[tuple[str, tuple[Answer, ...]], ...]

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Return all of them."""
        every = (answer for _, answers in self.images for answer in answers)
        return (*([self.index] if self.index else []), *every)


def verify(
    source: Source,
    reference_: str,
    *,
    key: PublicKey | None,
    today: date,
    tag: str | None = None,
    require: tuple[str, ...] = (),
) -> Verified:
    """Check an image, or an index and each of its images; ``tag`` is what it was found under.

    ``UsageError`` for what is not there.
    """
    found = source.manifest(reference_)
    if found is None:
        raise UsageError(f"there is no {reference_}", hint="`mlruntime release list` has the tags")
    index = found if found.media_type == INDEX_TYPE else None
    named = list(_entries(source, index)) if index else [(None, reference_, found)]
    return Verified(
        index=check_index(source, index, key=key, tag=tag) if index else None,
        images=tuple(
            (
                name,
                check(source, image, key=key, today=today, tag=tag, entry=entry, require=require),
            )
            for entry, name, image in named
        ),
    )


def _entries(source: Source, index: Document) -> Iterator[tuple[str | None, str, Document]]:
    """Yield (what the index calls it, its name for people, the image)."""
    for entry in index.parsed().get("manifests", ()):
        digest = str(entry["digest"])
        manifest = source.manifest(digest)
        if manifest is None:
            raise HashMismatch(f"the index {index.digest} names {digest}, which is not there")
        called = (entry.get("annotations") or {}).get(VARIANT)
        yield called, str(called or digest), manifest
