"""Wheels made for a test."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

Content = bytes | str


def made_wheel(
    folder: Path,
    name: str,
    files: Mapping[str, Content],
    *,
    entry_points: str = "",
    version: str = "1",
) -> Path:
    """Write a wheel of pure Python, deflated, with a RECORD that lists every file."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    more: dict[str, Content] = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if entry_points:
        more[f"{info}/entry_points.txt"] = entry_points
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in {**files, **more}.items():
            archive.writestr(file, content)
        lines = "".join(f"{file},,\n" for file in archive.namelist())
        archive.writestr(f"{info}/RECORD", f"{lines}{info}/RECORD,,\n")
    return path
