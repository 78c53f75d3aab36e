"""Stubs of the NVIDIA driver's libraries, built with gcc where a test needs them."""

import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent


def build_stub(source: str, soname: str, folder: Path) -> Path:
    """Compile one of the sources here to ``folder/soname``; return that path."""
    target = folder / soname
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror",
               f"-Wl,-soname,{soname}", "-o", str(target), str(SOURCES / source)]  # fmt: skip
    subprocess.run(command, check=True)
    return target
