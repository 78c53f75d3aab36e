"""Bytecode of wheels, compiled by the image's own Python and kept in the store."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builder.containers import Root
from builder.document import canonical_json
from builder.engine import Engine, Mount
from builder.errors import CommandFailed
from builder.layering import compile_wheels
from builder.layering.wheel import site_packages
from builder.store import Store

_PROGRAM: Final = Path(compile_wheels.__file__)
RECIPE: Final = hashlib.sha256(_PROGRAM.read_bytes()).hexdigest()
_KIND: Final = "bytecode"
_SECONDS: Final = 900


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A wheel in the store, with the file name the store does not keep."""

    filename: str
    sha256: str
    path: Path


def key(sha256: str, interpreter: str) -> str:
    """Return the record key of a wheel's bytecode for an interpreter (a digest)."""
    return hashlib.sha256(canonical_json([RECIPE, interpreter, sha256]).encode()).hexdigest()


def compile_missing(
    store: Store,
    engine: Callable[[], Engine],
    root: Callable[[], Root],
    wheels: Iterable[Wheel],
    *,
    python: str,
    interpreter: str,
    on_line: Callable[[str], None],
) -> Mapping[str, Path]:
    """Return each wheel's bytecode archive by the wheel's sha256.

    Those the store lacks are compiled in one container without network; ``root`` has its
    interpreter. Neither ``engine`` nor ``root`` is asked for when nothing is missing.
    """
    wanted = {wheel.sha256: wheel for wheel in wheels}
    with store.lock(f"bytecode-{interpreter}"):
        missing = [
            w for w in wanted.values() if not store.record(_KIND, key(w.sha256, interpreter))
        ]
        if missing:
            _compile(store, engine(), root(), missing, python, interpreter, on_line)
    return {sha: store.record_path(_KIND, key(sha, interpreter)) for sha in wanted}


def _compile(
    store: Store,
    engine: Engine,
    root: Root,
    wheels: list[Wheel],
    python: str,
    interpreter: str,
    on_line: Callable[[str], None],
) -> None:
    with store.scratch() as scratch:
        out = scratch / "out"
        out.mkdir()
        mounts = [Mount(source=str(out), target="/mlr/out")]
        program = scratch / "compile_wheels.py"
        program.write_bytes(_PROGRAM.read_bytes())
        mounts.append(Mount(source=str(program), target="/mlr/compile.py", read_only=True))
        inside = []
        for wheel in sorted(wheels, key=lambda w: w.filename):
            inside.append(f"/mlr/wheels/{wheel.filename}")
            mounts.append(Mount(source=str(wheel.path), target=inside[-1], read_only=True))
        result = engine.run(
            root.image,
            [f"python{python}", "/mlr/compile.py", "/mlr/out", site_packages(python), *inside],
            contents=root.layers,
            mounts=tuple(mounts),
            environment={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
            user=f"{os.getuid()}:{os.getgid()}",
            timeout=_SECONDS,
            on_line=on_line,
        )
        if result.exit_code != 0:
            raise CommandFailed("bytecode could not be compiled", why=result.tail)
        for wheel in wheels:
            archive = out / f"{wheel.filename}.zip"
            store.adopt_record(archive, _KIND, key(wheel.sha256, interpreter))
