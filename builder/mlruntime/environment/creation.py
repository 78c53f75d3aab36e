"""Making an environment: beside its place, and then moved there in one step."""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from mlruntime.environment.description import FILES, LOCK, Description, write_description
from mlruntime.environment.entries import InstalledEntry, encoded
from mlruntime.environment.interpreter import Interpreter
from mlruntime.environment.layout import NOTES
from mlruntime.environment.linking import Linker
from mlruntime.environment.materials import Materials
from mlruntime.environment.personal import fish_script, pip_conf, posix_script, pyvenv
from mlruntime.environment.settings import Variables
from mlruntime.errors import StorageError, UsageError
from mlruntime.image.sources.literal import File
from mlruntime.layers.sink import MTIME
from mlruntime.store.locking import held, taken
from mlruntime.store.store import storage_errors

_LOG: Final = logging.getLogger(__name__)

_ELSEWHERE = "name another path"
# What an archive of an environment makes itself at home with (`packing`).
UNPACK: Final = "unpack.sh"


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """An environment to be made: what of, for which interpreter, and what it says of itself."""

    materials: Materials
    interpreter: Interpreter
    variables: Variables
    lock: str
    description: Description


def create(order: Order, target: Path, linker: Linker) -> Description:
    """Make an environment at ``target``, an absolute path; all of it or nothing.

    Raises ``UsageError`` if somebody else was faster, ``StorageError`` if it cannot be written.
    """
    with storage_errors(target.parent, instead=_ELSEWHERE):
        target.parent.mkdir(parents=True, exist_ok=True)
        with beside(target) as folder:
            description = _fill(order, folder, target, linker)
            try:
                folder.rename(target)
            except OSError:
                if not target.exists():
                    raise
                raise UsageError(
                    "something else was made here meanwhile", where=str(target)
                ) from None
    return description


def _fill(order: Order, folder: Path, target: Path, linker: Linker) -> Description:
    found = tuple(pieces(order))
    _LOG.info("%d files and folders into %s", len(found), folder)
    make_folders(folder, (*(piece.entry.path for piece in found), FILES))
    for piece in found:
        put(f"{folder}/{piece.entry.path}", piece, linker)
    entries = sorted((piece.entry for piece in found), key=lambda entry: entry.path)
    (folder / FILES).write_bytes(encoded(entries))
    made = {way: count for way, count in linker.used.items() if count}
    description = msgspec.structs.replace(order.description, made=made)
    write_description(folder, description)
    write_personal(folder, target, order.interpreter, order.variables)
    return description


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A file or link of an environment: from a ``source`` in the store, or with its ``content``."""

    entry: InstalledEntry
    source: str = ""
    content: bytes | None = None


def pieces(order: Order) -> Iterator[Piece]:
    """Yield what is the same in every environment of a plan."""
    for one in order.materials.linked:
        yield Piece(entry=one.entry, source=one.source)
    for path, target in order.materials.links:
        yield Piece(entry=InstalledEntry(path=path, target=target))
    for file in (*order.materials.files, File(path=LOCK, content=order.lock.encode())):
        entry = InstalledEntry(
            path=file.path,
            size=len(file.content),
            sha256=hashlib.sha256(file.content).hexdigest(),
            executable=file.executable,
        )
        yield Piece(entry=entry, content=file.content)


def make_folders(root: Path, paths: Iterable[str]) -> None:
    """Make the directories that these paths are in."""
    for folder in sorted({os.path.dirname(path) for path in paths}):  # noqa: PTH120
        (root / folder).mkdir(parents=True, exist_ok=True)


def put(path: str, piece: Piece, linker: Linker) -> None:
    """Put one piece at an absolute path; its directory exists, and it does not."""
    if piece.entry.target:
        Path(path).symlink_to(piece.entry.target)
    elif piece.content is None:
        linker.put(piece.source, path, executable=piece.entry.executable)
    else:
        target = Path(path)
        target.write_bytes(piece.content)
        target.chmod(0o755 if piece.entry.executable else 0o644)
        os.utime(target, (MTIME, MTIME))


def write_personal(
    root: Path, target: Path, interpreter: Interpreter, variables: Variables
) -> None:
    """Write or replace the files in ``root`` that are made for a place and an interpreter."""
    here = variables.at(target)
    texts = {
        "pyvenv.cfg": pyvenv(
            interpreter.executable,
            interpreter.version,
            beneath=interpreter.executable.is_relative_to(target),
        ),
        "pip.conf": pip_conf(PurePosixPath(target)),
        "bin/activate": posix_script(here),
        "bin/activate.fish": fish_script(here),
    }
    for path, text in texts.items():
        new = root / f"{path}.new"
        new.write_text(text, encoding="utf-8")
        new.replace(root / path)
    python = root / "bin" / "python"
    python.unlink(missing_ok=True)
    python.symlink_to(interpreter.executable)


def is_personal(path: str) -> bool:
    """Return whether a file is made for a place, or by running: no package brings it."""
    own = ("pyvenv.cfg", "pip.conf", "bin/activate", "bin/activate.fish", "bin/python", UNPACK)
    return path in own or path.startswith(f"{NOTES}/") or "__pycache__" in path.split("/")


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Yield a directory beside ``target`` that is gone afterwards, unless it was moved.

    What killed runs left beside it goes first: each is held by a file lock.
    """
    prefix = f".{target.name}.creating-"
    with held(target.parent):
        for left in target.parent.glob(f"{_escaped(prefix)}*"):
            _remove_left(left)
        try:
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
        except FileNotFoundError:  # so say file systems of the kernel, such as /proc
            raise StorageError(
                "cannot make a directory here", where=str(target.parent), hint=_ELSEWHERE
            ) from None
        descriptor = taken(folder)
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _escaped(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _remove_left(folder: Path) -> None:
    if (descriptor := taken(folder)) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)
