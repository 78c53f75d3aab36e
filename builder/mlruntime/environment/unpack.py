"""Runs on the host that an archive is unpacked on, by the Python that was found there.

Compares every file with the list that came along, and fills in what is made for one place: only
Python's own library is there.
"""

import hashlib
import json
import shlex
import sys
from pathlib import Path
from urllib.parse import quote


def damaged(root: Path) -> "list[str]":
    """Return the files that are not what was packed."""
    found = []
    for path, size, sha256, _, target in json.loads((root / ".mlruntime/files.json").read_bytes()):
        file = root / path
        try:
            if target:
                good = str(file.readlink()) == target
            else:
                content = hashlib.sha256()
                with file.open("rb") as handle:
                    while chunk := handle.read(1 << 20):
                        content.update(chunk)
                good = content.hexdigest() == sha256 and file.lstat().st_size == size
        except OSError:
            good = False
        if not good:
            found.append(path)
    return found


def fish(text: str) -> str:
    """Return text as it is within single quotes of fish."""
    return text.replace("\\", "\\\\").replace("'", "\\'")


def write(path: Path, text: str) -> None:
    """Write or replace a file in one step: interrupted, this can be run again."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def fill_in(root: Path) -> None:
    """Write the files that are made for a place and an interpreter."""
    base = Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()
    values = {
        "activate": {"@ROOT@": shlex.quote(str(root))},
        "activate.fish": {"@ROOT@": fish(str(root))},
        "pip.conf": {"@ROOT@": quote(str(root))},
        "pyvenv.cfg": {
            "@HOME@": str(base.parent),
            "@NAME@": base.name,
            "@VERSION@": sys.version.split()[0],
        },
    }
    for name, known in values.items():
        text = (root / ".mlruntime/templates" / name).read_text(encoding="utf-8")
        for word, value in known.items():
            text = text.replace(word, value)
        folder = root / "bin" if name.startswith("activate") else root
        write(folder / name, text)
    python = root / "bin" / "python"
    if python.is_symlink():
        python.unlink()
    python.symlink_to(base)
    notes = root / ".mlruntime" / "environment.json"
    description = json.loads(notes.read_bytes())
    description.update(path=str(root), interpreter=str(base), python=sys.version.split()[0])
    write(notes, json.dumps(description, indent=1) + "\n")


def main() -> int:
    """Check and fill in; return the exit code."""
    root = Path(sys.argv[1])
    broken = damaged(root)
    if broken:
        print(f"unpack.sh: not what was packed: {', '.join(broken[:5])}", file=sys.stderr)
        print(f"  {len(broken)} files in all; try: copy the archive again", file=sys.stderr)
        return 5
    fill_in(root)
    print(f"{root} is ready: . {shlex.quote(str(root / 'bin' / 'activate'))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
