"""What was released, for the site: from records of versions and from locks, given as files."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mlruntime.definitions.files import Definitions, read_text
from mlruntime.errors import InvalidLock, UsageError
from mlruntime.image.sizes import locked_sizes
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
from mlruntime.release.channels import CHANNELS, Record, parse_record
from mlruntime.release.versions import RuntimeVersion, parse_version
from mlruntime.site.model import SiteImage, SiteVersion


def released_versions(
    definitions: Definitions, records: Iterable[Path], locks: Iterable[str]
) -> dict[str, tuple[SiteVersion, ...]]:
    """Return the versions of runtimes, the newest first.

    ``records`` are files that `mlruntime release list --json` has printed, ``locks`` are
    ``VERSION=FILE``. A version may be in both. What is none of that is a ``UsageError``.
    """
    found: dict[RuntimeVersion, SiteVersion] = {}
    for path in records:
        text = read_text(path, str(path), UsageError)
        found |= _recorded(parse_record(text, file=str(path), error=UsageError))
    for given in locks:
        version, images = _locked(given)
        known = found.get(version, SiteVersion(version=version.text))
        if known.images:
            raise UsageError(f"{version.text} has two locks", where="--lock", hint="give one")
        found[version] = replace(known, images=images)
    for version in found:
        definitions.folder(version.runtime)  # with a "did you mean"
    ordered = sorted(found, key=lambda version: version.patch, reverse=True)
    return {
        runtime: tuple(found[version] for version in ordered if version.runtime == runtime)
        for runtime in sorted({version.runtime for version in found})
    }


def _recorded(record: Record) -> dict[RuntimeVersion, SiteVersion]:
    return {
        one.version: SiteVersion(
            version=one.version.text,
            released=one.released,
            channels=tuple(name for name in CHANNELS if record.where(name) == one.version),
            index=one.index,
            variants=one.variants,
            retired=one.retired,
        )
        for one in record.versions
    }


def _locked(given: str) -> tuple[RuntimeVersion, tuple[SiteImage, ...]]:
    text, equals, file = given.partition("=")
    if not (text and equals and file):
        raise UsageError(f"{given!r} names no lock", where="--lock", hint="VERSION=FILE")
    lock = parse_lock(read_text(Path(file), file, InvalidLock), file=file).of_runtime
    version = parse_version(lock.runtime, text)
    return version, tuple(_images(text, lock))


def _images(version: str, lock: Lock) -> Iterable[SiteImage]:
    # By what the lock says: today's layers may not be those that it was made for.
    for variant in lock.variants:
        for cut in map(lock.cut, lock.flavour_names):
            sizes = replace(locked_sizes(cut, variant.name), runtime=version)
            yield SiteImage(of=version, lock=cut, sizes=sizes)
