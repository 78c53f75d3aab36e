"""The check programs and their input, as an archive for the driver's container."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import elftools

# The archive is unpacked in PARENT; programs run with FOLDER below it as working directory.
PARENT: Final = "/tmp"
FOLDER: Final = f"{PARENT}/mlruntime-checks"
EXPECTATION: Final = f"{FOLDER}/expect.json"
PROGRAMS: Final = Path(__file__).parent / "programs"


def archive(expect: Mapping[str, Any], programs: Path = PROGRAMS) -> bytes:
    """Return a tar of the folder: ``programs/`` with all files of ``programs``, and the JSON.

    The library that reads ELF files goes with them: an image has no use for it.
    """
    files = _below(programs, "programs") | _below(Path(elftools.__file__).parent, "elftools")
    files["expect.json"] = json.dumps(expect, indent=1).encode()
    buffer = io.BytesIO()
    root = Path(FOLDER).name
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        folders = {folder for name in files for folder in Path(name).parents}
        for folder in sorted(folders):
            entry = tarfile.TarInfo((Path(root) / folder).as_posix())
            # Any user of the image must be able to write here.
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{root}/{name}")
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _below(folder: Path, name: str) -> dict[str, bytes]:
    return {
        f"{name}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
