"""Preparing an image for clusters: its archive of class data, made once, kept in the store.

Two JVMs of the same build make archives that differ in a third of their bytes, so that it can be no
part of an image, whose digest says what is in it.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from mlruntime.cluster.class_data import ARCHIVE, FOLDER, NAME, OPTIONS, ClassData, files_of, jar_of
from mlruntime.engine import Container, Engine, ImageInfo
from mlruntime.engine.archives import packed, save_files
from mlruntime.errors import CommandFailed
from mlruntime.store.contents import CLASS_DATA
from mlruntime.store.store import Store, file_sha256

_PROGRAMS: Final = Path(__file__).parent / "programs"
_SECONDS: Final = 900
_TOLD_LINES: Final = 10


def key_of(image: ImageInfo) -> str:
    """Return what the store knows the class data of an image by: the image, and how we make it."""
    digest = hashlib.sha256(f"{image.id} {FOLDER} {OPTIONS}".encode())
    for content in _programs().values():
        digest.update(content)
    return digest.hexdigest()


def prepared(store: Store, image: ImageInfo) -> ClassData | None:
    """Return an image's class data; ``None`` when the store does not have all of it, as it was.

    It is hashed, because a JVM does not look: it maps the archive as it is.
    """
    key = key_of(image)
    record = store.record(CLASS_DATA, key)
    if record is None:
        return None
    try:
        names = json.loads(record.read_text(encoding="utf-8"))
        found = {name: store.blob(str(names[name])) for name in files_of(key)}
    except (OSError, ValueError, TypeError, KeyError):  # pruned meanwhile, or left by a crash
        return None
    files = {
        name: path
        for name, path in found.items()
        if path is not None and not store.discard_rotten(path.name)
    }
    return ClassData(key=key, files=files) if len(files) == len(found) else None


def prepare(
    store: Store,
    engine: Engine,
    image: ImageInfo,
    *,
    on_line: Callable[[str], None] = lambda _: None,
) -> ClassData:
    """Make the class data of an image, in a container of it without network, unless it is there.

    Two that prepare one image wait for one another. Raises ``CommandFailed``, with what the
    container wrote last.
    """
    key = key_of(image)
    with store.lock(f"{CLASS_DATA}-{key}"):
        if (there := prepared(store, image)) is not None:
            return there
        with store.scratch() as scratch:
            _made(engine, image.id, key, scratch, on_line)
            names = {name: file_sha256(scratch / name) for name in files_of(key)}
            kept = {name: store.keep_blob(scratch / name, names[name]) for name in names}
            store.write_record(CLASS_DATA, key, json.dumps(names))
        return ClassData(key=key, files=kept)


def _made(engine: Engine, image: str, key: str, into: Path, on_line: Callable[[str], None]) -> None:
    """Make the files in a container, and fetch them."""

    def collect(container: Container) -> None:
        save_files(container.get(FOLDER), into)

    programs: Callable[[], Iterator[bytes]] = partial(packed, _programs())
    done = engine.run(
        image,
        ["python", "/tmp/prepare.py", FOLDER, jar_of(key), "/tmp/typical.py", *OPTIONS],
        files={"/etc/spark": partial(packed, {}, (NAME,)), "/tmp": programs},
        timeout=_SECONDS,
        on_line=on_line,
        on_end=collect,
    )
    if done.exit_code:
        raise CommandFailed(
            f"the container that prepares class data exited with {done.exit_code}",
            why="\n       ".join(done.tail.splitlines()[-_TOLD_LINES:]),
        )
    if not (into / ARCHIVE).is_file():
        raise CommandFailed(f"Java made no {ARCHIVE}")


def _programs() -> dict[str, bytes]:
    return {name: (_PROGRAMS / name).read_bytes() for name in ("prepare.py", "typical.py")}
