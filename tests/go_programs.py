"""Programs of other projects that tests run, compiled from their Go modules and kept."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest


class NotCompiledError(Exception):
    """Why there is no program; what to do about it is part of the sentence."""


def go_program(module: str) -> str:
    """Return a program by its module, ``HOST/PATH/NAME@VERSION``; skip the test without Go.

    It is compiled once for each version of it and of Go.
    """
    name = module.partition("@")[0].rpartition("/")[2]
    try:
        path = kept(name, f"{module}\n")
    except NotCompiledError as missing:
        pytest.skip(str(missing))
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as work:
            subprocess.run([_go(), "install", module], check=True, env=os.environ | {"GOBIN": work})
            (Path(work) / name).replace(path)
    return str(path)


def kept(name: str, recipe: str, sources: Iterable[Path] = ()) -> Path:
    """Return where something compiled is kept: one place for this recipe, sources and Go.

    It need not be there. Raises ``NotCompiledError`` without Go.
    """
    version = subprocess.run([_go(), "version"], capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256(f"{version}{recipe}".encode())
    for source in sources:
        digest.update(source.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "mlruntime-tests" / f"{name}-{digest.hexdigest()[:16]}"


def go_build(target: Path, packages: Sequence[str], *, tags: str, flags: str, cwd: Path) -> Path:
    """Compile packages unless ``target`` is there: a program, or a folder with several of them.

    Go's own cache is not kept.
    """
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        made = Path(work) / "made"
        if len(packages) > 1:
            made.mkdir()
        environment = os.environ | {"CGO_ENABLED": "0", "GOCACHE": f"{work}/go", "GOFLAGS": ""}
        command = [_go(), "build", "-trimpath", "-tags", tags, "-ldflags", flags, "-o", str(made)]
        subprocess.run([*command, *packages], cwd=cwd, env=environment, check=True)
        made.replace(target)
    return target


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise NotCompiledError("Go is not installed: its version tells where programs are kept")
    return go
