"""Copying everything that locks need to another machine, for example one without a network.

An export is a folder with a store's layout, the locks, and ``index.json``, which names each file
by its sha256. A file is imported only after its bytes have been checked.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlruntime.definitions.files import read_text
from mlruntime.documents.reading import did_you_mean, read_json
from mlruntime.documents.schema import Form, Sha256, Text, checked
from mlruntime.ecosystems.native import build as native
from mlruntime.errors import HashMismatch, UsageError
from mlruntime.fetch.locating import last_seen
from mlruntime.lock.document import FileName
from mlruntime.lock.model import Lock
from mlruntime.store.locking import held
from mlruntime.store.store import Store, file_sha256, link_or_copy, storage_errors
from mlruntime.workflows.host import Host
from mlruntime.workflows.store.uses import artifacts_of, native_of

FORMAT: Final = 1
INDEX: Final = "index.json"
_NATIVE: Final = "native"


class FileForm(Form, frozen=True):
    """A blob of an export."""

    sha256: Sha256
    filename: FileName


class WheelRecordForm(Form, frozen=True):
    """The record of a compiled wheel."""

    key: Sha256
    sha256: Sha256


class CarriedForm(Form, frozen=True):
    """A lock in an export."""

    runtime: Text
    digest: Text


class IndexForm(Form, frozen=True):
    """``index.json`` of an export."""

    format: int
    locks: list[CarriedForm]
    files: list[FileForm]
    native: list[WheelRecordForm]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreExport:
    """What was written: how many files of how many bytes, and which wheels must be compiled."""

    files: int
    size: int
    uncompiled: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreImport:
    """What was imported; ``known`` is how many files the store already had."""

    files: int
    known: int
    size: int
    locks: tuple[str, ...]


def export(
    locks: Iterable[Lock], variants: tuple[str, ...], host: Host, directory: Path
) -> StoreExport:
    """Write everything the locks need into a new directory; missing files are fetched.

    Wheels that are compiled here go along if the store has them. Raises ``UsageError`` when the
    directory is there and not empty.
    """
    directory = directory.absolute()
    _refuse_used(directory)
    locks, store = tuple(locks), host.store
    partial = directory.parent / f".{directory.name}.partial"
    with store.shared(), storage_errors(directory, instead="write it elsewhere"), _emptied(partial):
        _refuse_used(directory)  # another export may have written it while we waited
        files: dict[str, tuple[Path, str]] = {}
        records, uncompiled = {}, []
        for lock in locks:
            with last_seen(lock):
                fetched = host.fetch(artifacts_of(lock, variants))
            for artifact in artifacts_of(lock, variants):
                files[artifact.sha256] = fetched[artifact.sha256], artifact.filename
            for wheel in native_of(lock, variants):
                built = native.built(store, wheel)
                if built is None:
                    uncompiled.append(f"{wheel.name} {wheel.version}")
                    continue
                files[built.sha256] = built.path, built.filename
                records[native.record_key(wheel)] = built
        _write(partial, locks, files, {key: store.record_path(_NATIVE, key) for key in records})
        with suppress(OSError):  # it may be there, and empty
            directory.rmdir()
        partial.rename(directory)
    size = sum((directory / "blobs" / "sha256" / sha256).stat().st_size for sha256 in files)
    return StoreExport(files=len(files), size=size, uncompiled=tuple(dict.fromkeys(uncompiled)))


def _refuse_used(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(
            f"{directory} is there already, and not empty",
            hint="name a directory that does not exist yet",
        )


@contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    """Keep a directory for this process alone, without what a killed one left; remove it at last.

    By then it has another name, if all went well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder, instead="name another directory"):
        folder.mkdir(exist_ok=True)  # whoever had it may have put it in its place
        for left in folder.iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()
        try:
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _write(
    folder: Path,
    locks: tuple[Lock, ...],
    files: dict[str, tuple[Path, str]],
    records: dict[str, Path],
) -> None:
    for below in ("blobs/sha256", _NATIVE, "locks"):
        (folder / below).mkdir(parents=True, exist_ok=True)
    for sha256, (path, _) in sorted(files.items()):
        link_or_copy(path, folder / "blobs" / "sha256" / sha256)
    for key, path in sorted(records.items()):
        shutil.copyfile(path, folder / _NATIVE / key)
    for lock in locks:
        (folder / "locks" / f"{lock.runtime}.json").write_text(lock.to_json(), encoding="utf-8")
    index: dict[str, Any] = {
        "format": FORMAT,
        "locks": [{"runtime": lock.runtime, "digest": lock.digest} for lock in locks],
        "files": [
            {"sha256": sha256, "filename": name} for sha256, (_, name) in sorted(files.items())
        ],
        "native": [{"key": key, "sha256": file_sha256(path)} for key, path in records.items()],
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def take_in(directory: Path, store: Store) -> StoreImport:
    """Take everything of an export into the store.

    Raises ``UsageError`` for a directory that is no export, and ``HashMismatch`` at the first file
    whose bytes are not those that the index names; files imported before it stay.
    """
    file = directory / INDEX
    if not file.is_file():
        raise UsageError(
            f"{directory} is not an export", why=f"it has no {INDEX}",
            hint="make one with `mlruntime store export RUNTIME --output DIR`",
        )  # fmt: skip
    top = read_json(read_text(file, str(file), UsageError), file=str(file), error=UsageError)
    if (found := top.get("format")).integer() != FORMAT:
        raise found.fail(f"format {found.value} is not known", hint="update mlruntime")
    index = checked(IndexForm, top)
    known, size = 0, 0
    with store.shared():
        for entry in index.files:
            if store.blob(entry.sha256) is not None:
                known += 1
                continue
            path = directory / "blobs" / "sha256" / entry.sha256
            size += _adopt(path, entry.sha256, entry.filename, store)
        for record in index.native:
            path = directory / _NATIVE / record.key
            text = _checked(path, record.sha256, f"record {record.key}", store)
            store.write_record(_NATIVE, record.key, text.read_text(encoding="utf-8"))
            text.unlink()
    locks = tuple(carried.runtime for carried in index.locks)
    return StoreImport(files=len(index.files), known=known, size=size, locks=locks)


def _adopt(path: Path, sha256: str, name: str, store: Store) -> int:
    whole = _checked(path, sha256, name, store)
    size = whole.stat().st_size
    store.keep_blob(whole, sha256)
    return size


def _checked(path: Path, sha256: str, name: str, store: Store) -> Path:
    """Copy a file of an export into the store's own folder; raise unless its bytes are right."""
    if path.is_symlink() or not path.is_file():
        raise UsageError(f"{name} is missing from the export", where=str(path),
                         hint="export again, or copy the whole directory")  # fmt: skip
    copy = store.partial(f"{sha256}.{os.getpid()}")
    with storage_errors(store.root):
        shutil.copyfile(path, copy)
    found = file_sha256(copy)
    if found != sha256:
        copy.unlink(missing_ok=True)
        raise HashMismatch(
            f"{name} is damaged",
            where=str(path),
            why=f"expected sha256 {sha256}, its bytes have {found}",
            hint="copy it again, or export again",
        )
    return copy


def unknown_variants(locks: Iterable[Lock], variants: tuple[str, ...]) -> None:
    """Raise ``UsageError`` for a variant that one of the locks does not have."""
    for lock in locks:
        known = tuple(v.name for v in lock.variants)
        for variant in variants:
            if variant not in known:
                raise UsageError(
                    f"{lock.runtime} has no variant {variant!r}", hint=did_you_mean(variant, known)
                )
