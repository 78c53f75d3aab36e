"""Bytecode of wheels, compiled by the image's own Python and kept in the store."""

import hashlib
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from mlruntime.documents.reading import canonical_json
from mlruntime.ecosystems.place import image_place
from mlruntime.ecosystems.pypi import compile_wheels
from mlruntime.ecosystems.pypi.sources import sources_only
from mlruntime.ecosystems.pypi.stored import StoredWheel
from mlruntime.engine import Container, Runs
from mlruntime.engine.archives import Root, packed, save_file
from mlruntime.errors import CommandFailed
from mlruntime.store.store import Store

_PROGRAM: Final = Path(compile_wheels.__file__)
RECIPE: Final = hashlib.sha256(_PROGRAM.read_bytes()).hexdigest()
_KIND: Final = "bytecode"
_SECONDS: Final = 900
# It reads what was put there, and writes below /mlr/out and /tmp.
_NOBODY: Final = "65534:65534"
# CPU shares, of 1024. What runs beside it is sequential and would otherwise finish last.
_CPU_SHARES: Final = 128


def key(sha256: str, interpreter: str) -> str:
    """Return the record key of a wheel's bytecode for an interpreter (a digest)."""
    return hashlib.sha256(canonical_json([RECIPE, interpreter, sha256]).encode()).hexdigest()


def discard_rotten(store: Store, sha256: str, interpreter: str) -> bool:
    """Remove a wheel's bytecode if it cannot be read; return whether that was so."""
    found = store.record(_KIND, key(sha256, interpreter))
    if found is None:
        return False
    try:
        with zipfile.ZipFile(found) as archive:
            whole = archive.testzip() is None
    except zipfile.BadZipFile:
        whole = False
    if not whole:
        found.unlink(missing_ok=True)
    return not whole


def compile_missing(
    store: Store,
    engine: Runs,
    root: Callable[[], Root],
    wheels: Iterable[StoredWheel],
    *,
    python: str,
    program: str,
    interpreter: str,
    on_line: Callable[[str], None],
    on_compiled: Callable[[str, Path], None],
) -> None:
    """Compile what the store lacks, in this order, in one container without network.

    ``on_compiled`` gets each wheel's sha256 and bytecode archive, as soon as it is there. ``root``
    has the interpreter, at the path ``program``; it is not asked for when nothing is missing, nor
    does anything run then.
    """
    wanted = {wheel.sha256: wheel for wheel in wheels}
    with store.lock(f"bytecode-{interpreter}"):
        missing = []
        for wheel in wanted.values():
            found = store.record(_KIND, key(wheel.sha256, interpreter))
            if found:
                on_compiled(wheel.sha256, found)
            else:
                missing.append(wheel)
        if missing:
            compiling = _Compiling(store, missing, interpreter, on_compiled)
            compiling.run(engine, root(), (program, python), on_line)


class _Compiling:
    """One container's work: the wheels whose archives it still owes."""

    def __init__(
        self,
        store: Store,
        wheels: list[StoredWheel],
        interpreter: str,
        on_compiled: Callable[[str, Path], None],
    ) -> None:
        self._store = store
        self._owed = {wheel.filename: wheel for wheel in wheels}
        self._interpreter = interpreter
        self._on_compiled = on_compiled

    def run(
        self, engine: Runs, root: Root, python: tuple[str, str], on_line: Callable[[str], None]
    ) -> None:
        program, minor = python
        inside = {f"mlr/wheels/{name}": wheel for name, wheel in self._owed.items()}
        with self._store.scratch() as scratch:
            # Their sources are all that is read, and of some wheels a thousandth part.
            files = {
                path: sources_only(wheel.path, scratch / f"{number}")
                for number, (path, wheel) in enumerate(inside.items())
            }
            files["mlr/compile.py"] = _PROGRAM
            containers: list[Container] = []

            def heard(line: str) -> None:
                on_line(line)
                self._take(line, containers[0], scratch)

            result = engine.run(
                root.image,
                [
                    program,
                    "/mlr/compile.py",
                    "/mlr/out",
                    image_place(minor).site_packages,
                    *(f"/{path}" for path in inside),
                ],
                contents=(*root.contents, lambda: packed(files, folders=["mlr/out"])),
                # A root with nothing but Python has neither a locale nor a /tmp.
                environment={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
                tmpfs=("/tmp",),
                user=_NOBODY,
                cpu_shares=_CPU_SHARES,
                timeout=_SECONDS,
                on_start=containers.append,
                on_line=heard,
            )
        if result.exit_code != 0 or self._owed:
            raise CommandFailed(
                "bytecode could not be compiled",
                why=result.tail,
                hint="a library that Python lacks belongs into its layer in images/layers.yaml",
            )

    def _take(self, line: str, container: Container, scratch: Path) -> None:
        """Keep an archive once a line says that all parts are in it."""
        name, _, parts = line.rpartition(" ")
        done, _, count = parts.partition("/")
        if name in self._owed and done == count:
            wheel = self._owed.pop(name)
            target = key(wheel.sha256, self._interpreter)
            archive = scratch / f"{wheel.sha256}.zip"
            save_file(container.get(f"/mlr/out/{name}.zip"), archive)
            self._store.adopt_record(archive, _KIND, target)
            self._on_compiled(wheel.sha256, self._store.record_path(_KIND, target))
