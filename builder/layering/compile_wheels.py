"""Compile the modules of wheels to bytecode. Runs inside the image's own OS layer.

Only that interpreter's compiler gives the bytes the image's interpreter expects, whatever Python
runs the builder. Uses the standard library only. Arguments: OUT SITE_PACKAGES WHEEL...; for each
wheel it writes OUT/<wheel's file name>.zip, which maps installed paths to ``.pyc`` content.

marshal's output depends on what else the process has interned, so every chunk of modules is
compiled in a process of its own that has compiled nothing before (and with PYTHONHASHSEED=0):
the same wheel gives the same bytes.
"""

import importlib.util
import marshal
import os
import sys
import tempfile
import zipfile
from importlib import _bootstrap_external as external
from pathlib import Path
from typing import NoReturn

CHUNK = 150
# A wheel, the same opened, where it is installed, and the members to compile.
Job = tuple[Path, zipfile.ZipFile, str, tuple[str, ...]]


def modules(archive: zipfile.ZipFile) -> list[str]:
    """Return the members that end up as importable modules, sorted."""
    return sorted(name for name in archive.namelist() if installed(name) is not None)


def installed(name: str) -> str | None:
    """Return a member's path below site-packages, or ``None`` for what is not a module there."""
    top, _, rest = name.partition("/")
    if not name.endswith(".py"):
        return None
    if not top.endswith(".data"):
        return name
    scheme, _, path = rest.partition("/")
    return path if scheme in ("purelib", "platlib") else None


def compile_chunk(job: Job) -> list[tuple[str, bytes]]:
    """Compile one chunk; a module that is not valid Python for this version stays uncompiled."""
    wheel, archive, site, names = job
    done = []
    # The table of contents is inherited. The open file is, too, but with one position for all.
    with wheel.open("rb") as archive.fp:
        for name in names:
            path, source = f"{site}/{installed(name)}", archive.read(name)
            try:
                code = compile(source, f"/{path}", "exec", dont_inherit=True)
            except (SyntaxError, ValueError):
                continue
            # Hash-based and unchecked: valid whatever mtime the source file has.
            source_hash = importlib.util.source_hash(source)
            pyc = external._code_to_hash_pyc(code, source_hash, False)  # type: ignore[attr-defined]
            done.append((path, bytes(pyc)))
    return done


def main(out: str, site: str, wheels: list[Path]) -> None:
    """Compile all wheels, on as many cores as there are."""
    jobs: list[Job] = []
    for wheel in wheels:
        archive = zipfile.ZipFile(wheel)
        names = modules(archive)
        jobs += [
            (wheel, archive, site, tuple(names[i : i + CHUNK])) for i in range(0, len(names), CHUNK)
        ]
    with tempfile.TemporaryDirectory() as folder:
        parts = [Path(folder) / str(number) for number in range(len(jobs))]
        run(jobs, parts)
        for wheel in wheels:
            own = [part for job, part in zip(jobs, parts, strict=True) if job[0] == wheel]
            merge(Path(out) / f"{wheel.name}.zip", own)


def run(jobs: list[Job], parts: list[Path]) -> None:
    """Compile each chunk in a child of its own, forked by a process that has no threads.

    A pool's threads would make that fork unsafe: a child can inherit a lock that nobody opens.
    """
    children: dict[int, Job] = {}
    for job, part in zip(jobs, parts, strict=True):
        while len(children) >= (os.cpu_count() or 1):
            reap(children)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            child(job, part)
        children[pid] = job
    while children:
        reap(children)


def child(job: Job, part: Path) -> NoReturn:
    """Compile, and leave without running anything the parent would have run at its end."""
    code = 1
    try:
        with part.open("wb") as file:
            marshal.dump(compile_chunk(job), file)
        code = 0
    finally:
        os._exit(code)


def reap(children: dict[int, Job]) -> None:
    """Wait for one child; one that failed fails everything."""
    pid, status = os.wait()
    wheel = children.pop(pid)[0].name
    if status:
        sys.exit(f"{wheel}: its compilation ended with {os.waitstatus_to_exitcode(status)}")
    print(wheel, flush=True)  # noqa: T201 - the builder shows it


def merge(path: Path, parts: list[Path]) -> None:
    """Join the chunks of one wheel, in order; uncompressed: they are read once, into a layer."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for part in parts:
            with part.open("rb") as file:
                for name, content in marshal.load(file):
                    archive.writestr(zipfile.ZipInfo(name), content)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [Path(wheel) for wheel in sys.argv[3:]])
