"""The check programs and what they are told, as an archive for the driver's container."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

# The archive is unpacked in PARENT; programs run with FOLDER below it as working directory.
PARENT: Final = "/tmp"
FOLDER: Final = f"{PARENT}/mlruntime-checks"
EXPECTATION: Final = f"{FOLDER}/expect.json"
PROGRAMS: Final = Path(__file__).parent / "programs"


def archive(expect: Mapping[str, Any], programs: Path = PROGRAMS) -> bytes:
    """Return a tar of the folder: ``programs/`` with all files of ``programs``, and the JSON."""
    files = {
        f"programs/{path.relative_to(programs).as_posix()}": path.read_bytes()
        for path in sorted(programs.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    files["expect.json"] = json.dumps(expect, indent=1).encode()
    buffer = io.BytesIO()
    root = Path(FOLDER).name
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        folders = {folder for name in files for folder in Path(name).parents}
        for folder in sorted(folders):
            entry = tarfile.TarInfo((Path(root) / folder).as_posix())
            # Whatever user the image has must be able to work here.
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{root}/{name}")
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
