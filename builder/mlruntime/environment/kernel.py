"""An environment as a kernel of Jupyter: its specification, and where Jupyter looks for it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mlruntime.errors import UsageError
from mlruntime.store.store import storage_errors

_FILE: Final = "kernel.json"
# Jupyter's own rule (jupyter_client.kernelspec).
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
# The variables of the environment are those of its own script; ``exec``, so that Jupyter's signals
# reach Python.
_START: Final = '. "$0/bin/activate" && exec "$0/bin/python" -m ipykernel_launcher -f "$1"'


def specification(root: Path, title: str) -> dict[str, Any]:
    """Return the content of ``kernel.json``. Core."""
    return {
        "argv": ["/bin/sh", "-c", _START, str(root), "{connection_file}"],
        "display_name": title,
        "language": "python",
        "metadata": {"debugger": True},
    }


def kernels(environ: Mapping[str, str], home: Path) -> Path:
    """Return the directory in which Jupyter looks for a user's kernels on Linux."""
    if data := environ.get("JUPYTER_DATA_DIR"):
        return Path(data, "kernels")
    shared = environ.get("XDG_DATA_HOME") or home / ".local" / "share"
    return Path(shared, "jupyter", "kernels")


def default_name(root: Path) -> str:
    """Return a kernel's name from that of an environment's directory."""
    return "mlruntime-" + (re.sub(r"[^a-z0-9._-]+", "-", root.name.lower()).strip("-") or "env")


def install_kernel(root: Path, title: str, name: str, folder: Path) -> Path:
    """Write or replace an environment's kernel; return its ``kernel.json``.

    Raises ``UsageError`` for a name that will not do or that another kernel has, and if the
    environment has no ``ipykernel``.
    """
    if not _NAME.fullmatch(name) or not name.strip("."):
        raise UsageError(
            f"{name!r} cannot be a kernel's name",
            hint="letters without accents, digits, and . _ - are allowed",
        )
    if not any(root.glob("lib/python*/site-packages/ipykernel_launcher.py")):
        raise UsageError(
            "the environment has no ipykernel",
            where=str(root),
            hint=f"`mlruntime env run {root} -- pip install ipykernel`, or the flavour notebook",
        )
    target, text = folder / name / _FILE, _text(root, title)
    if target.exists() and not _is_of(target, root):
        raise UsageError(
            f"there is another kernel called {name}", where=str(target), hint="choose a --name"
        )
    with storage_errors(folder, instead="set JUPYTER_DATA_DIR"):
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(target)
    return target


def _text(root: Path, title: str) -> str:
    return json.dumps(specification(root, title), indent=1, ensure_ascii=False) + "\n"


def _is_of(target: Path, root: Path) -> bool:
    """Return whether a kernel is this environment's."""
    try:
        found = json.loads(target.read_text(encoding="utf-8"))
        return bool(found["argv"][1:4] == ["-c", _START, str(root)])
    except (ValueError, KeyError, TypeError, OSError):
        return False
