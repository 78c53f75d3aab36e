"""A Python for an environment: its own, or one on PATH, or where pyenv and uv keep theirs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlruntime.environment.host import is_text
from mlruntime.errors import CommandFailed, Unavailable, UsageError
from mlruntime.host.command import run
from mlruntime.lock.model import CONDA_PREFIX, Lock

# Says what an interpreter is. The modules are those that a Python may be compiled without.
_QUESTION: Final = """\
import importlib, json, os, platform, sys, sysconfig
missing = []
for name in ("bz2", "ctypes", "lzma", "sqlite3", "ssl", "zlib"):
    try:
        importlib.import_module(name)
    except ImportError:
        missing.append(name)
print(json.dumps({
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "minor": "%d.%d" % sys.version_info[:2],
    "version": platform.python_version(),
    "kind": sys.implementation.name,
    "machine": platform.machine(),
    "bits": 64 if sys.maxsize > 2**32 else 32,
    "libc": platform.libc_ver()[0],
    "threads": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "missing": missing,
}))
"""
_SECONDS: Final = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """A Python of this host: its real ``executable``, its full ``version``."""

    executable: Path
    version: str

    @property
    def minor(self) -> str:
        """Return its minor version ("3.11")."""
        return ".".join(self.version.split(".")[:2])


def conda_interpreter(
    lock: Lock, variant: str, target: Path, *, given: Path | None = None
) -> Interpreter | None:
    """Return the Python that an environment in ``target`` brings itself, if conda has one for it.

    Raises ``UsageError`` if another is ``given``.
    """
    found = [p for p in lock.whole(variant).conda if p.name == "python"]
    if not found:
        return None
    version = found[0].artifact.version
    if given is not None:
        raise UsageError(
            f"{lock.runtime} has a Python of its own, {version}", hint="without --python"
        )
    minor = ".".join(version.split(".")[:2])
    return Interpreter(executable=target / CONDA_PREFIX / "bin" / f"python{minor}", version=version)


def find_interpreter(
    minor: str, environ: Mapping[str, str], *, home: Path, given: Path | None = None
) -> Interpreter:
    """Return the first Python of a minor version ("3.11") that packages can run with.

    ``given`` alone is looked at if it is named. Raises ``Unavailable`` with what was found
    instead, and how to get one.
    """
    refused: dict[str, str] = {}
    for path in [given] if given else _candidates(minor, environ, home):
        try:
            found = json.loads(run([path, "-I", "-c", _QUESTION], timeout=_SECONDS))
            why = _unusable(found, minor)
        except (CommandFailed, ValueError) as error:
            lines = str(getattr(error, "why", "") or error).strip().splitlines()
            refused[str(path)] = lines[0] if lines else "it does not run"
            continue
        if not why:
            return Interpreter(executable=Path(found["executable"]), version=found["version"])
        refused[str(path)] = why
    raise Unavailable(
        f"{given} is not a Python {minor} that can be used"
        if given
        else f"there is no Python {minor} on this host",
        why="; ".join(f"{path}: {why}" for path, why in refused.items())
        or f"neither PATH nor the folders of pyenv and uv have a python{minor}",
        hint=f"`uv python install {minor}`, or `pyenv install {minor}`, or your distribution's"
        f" package python{minor}; or name one with --python",
    )


def _candidates(minor: str, environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Yield the paths that a Python may be at, each once."""
    name = f"python{minor}"
    pyenv = Path(environ.get("PYENV_ROOT") or home / ".pyenv")
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    uv = Path(environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    found = [Path(folder) / name for folder in environ.get("PATH", "").split(":") if folder]
    found += [home / ".local" / "bin" / name]
    for folder in (pyenv / "versions", uv):
        found += sorted(folder.glob(f"*/bin/{name}"), reverse=True)
    seen = set()
    for path in found:
        if path.is_file() and (real := path.resolve()) not in seen:
            seen.add(real)
            yield path


def _unusable(found: Mapping[str, Any], minor: str) -> str:
    """Return why an interpreter cannot be used; ``""`` if it can."""
    wanted = {"kind": "cpython", "minor": minor, "machine": "x86_64", "bits": 64, "libc": "glibc"}
    for name, value in wanted.items():
        if found[name] != value:
            return f"it is {found['kind']} {found['version']}, {found['bits']} bits," + (
                f" for {found['machine']} with {found['libc'] or 'another C library than glibc'}"
            )
    if not is_text(Path(found["executable"])):
        return "its path is not UTF-8"
    if found["threads"]:
        return "it is free-threaded, which the locked wheels are not made for"
    if found["missing"]:
        return f"it was compiled without {', '.join(map(str, found['missing']))}"
    return ""
