"""Compile the modules of wheels to bytecode. Runs in a container that has the image's own Python.

Only that interpreter's compiler gives the bytes the image's interpreter expects, whatever Python
runs the builder. Uses the standard library only. Arguments: OUT SITE_PACKAGES WHEEL...; for each
wheel, in that order, it writes OUT/<wheel's file name>.zip, which maps installed paths to ``.pyc``
content. It prints ``WHEEL DONE/ALL`` for each part that is done; the archive is there when the
two numbers are equal.

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
# A package's own tests are a fifth of all source, and nobody imports them: pytest, which does,
# compiles them in another way, and keeps that elsewhere.
TESTS = "tests"
# A wheel, the same opened, where it is installed, and the members to compile.
Job = tuple[Path, zipfile.ZipFile, str, tuple[str, ...]]


def modules(archive: zipfile.ZipFile) -> list[str]:
    """Return the members that end up as importable modules, sorted; tests are left out."""
    return sorted(
        name
        for name in archive.namelist()
        if installed(name) is not None and TESTS not in name.split("/")[:-1]
    )


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


class Archives:
    """Joins the parts of each wheel once all are there."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.parts: dict[Path, list[Path]] = {}
        self.left: dict[Path, int] = {}

    def expect(self, wheel: Path, parts: list[Path]) -> None:
        """Note where the parts of a wheel will be; there may be none."""
        self.parts[wheel] = parts
        self.left[wheel] = len(parts)
        if not parts:
            self._told(wheel)

    def done(self, wheel: Path) -> None:
        """Note that one more part of a wheel is there."""
        self.left[wheel] -= 1
        self._told(wheel)

    def _told(self, wheel: Path) -> None:
        parts = self.parts[wheel]
        if not self.left[wheel]:
            merge(self.out / f"{wheel.name}.zip", parts)
        done = len(parts) - self.left[wheel]
        print(f"{wheel.name} {done}/{len(parts)}", flush=True)  # noqa: T201 - the builder reads it


def main(out: str, site: str, wheels: list[Path]) -> None:
    """Compile all wheels, on as many cores as there are."""
    archives = Archives(Path(out))
    with tempfile.TemporaryDirectory() as folder:
        jobs: list[tuple[Job, Path]] = []
        for wheel in wheels:
            archive = zipfile.ZipFile(wheel)
            names = modules(archive)
            chunks = [tuple(names[i : i + CHUNK]) for i in range(0, len(names), CHUNK)]
            parts = [Path(folder) / f"{len(jobs) + i}" for i in range(len(chunks))]
            archives.expect(wheel, parts)
            of_wheel = ((wheel, archive, site, chunk) for chunk in chunks)
            jobs += zip(of_wheel, parts, strict=True)
        run(jobs, archives)


def run(jobs: list[tuple[Job, Path]], archives: Archives) -> None:
    """Compile each chunk in a child of its own, forked by a process that has no threads.

    A pool's threads would make that fork unsafe: a child can inherit a lock that nobody opens.
    """
    children: dict[int, Path] = {}
    for job, part in jobs:
        while len(children) >= (os.cpu_count() or 1):
            archives.done(reap(children))
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            child(job, part)
        children[pid] = job[0]
    while children:
        archives.done(reap(children))


def child(job: Job, part: Path) -> NoReturn:
    """Compile, and leave without running anything the parent would have run at its end."""
    code = 1
    try:
        with part.open("wb") as file:
            marshal.dump(compile_chunk(job), file)
        code = 0
    finally:
        os._exit(code)


def reap(children: dict[int, Path]) -> Path:
    """Wait for one child and return its wheel; one that failed fails everything."""
    pid, status = os.wait()
    wheel = children.pop(pid)
    if status:
        sys.exit(f"{wheel.name}: its compilation ended with {os.waitstatus_to_exitcode(status)}")
    return wheel


def merge(path: Path, parts: list[Path]) -> None:
    """Join the chunks of one wheel, in order; uncompressed: they are read once, into a layer."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for part in parts:
            with part.open("rb") as file:
                for name, content in marshal.load(file):
                    archive.writestr(zipfile.ZipInfo(name), content)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [Path(wheel) for wheel in sys.argv[3:]])
