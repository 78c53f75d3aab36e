"""The modules of a wheel, all that a compiler reads of it, as a smaller zip file."""

import zipfile
from pathlib import Path

from mlruntime.ecosystems.pypi import compile_wheels
from mlruntime.ecosystems.pypi.zipped import Member
from mlruntime.errors import CommandFailed


def sources_only(wheel: Path, target: Path) -> Path:
    """Write a zip file with the modules of a wheel, not compressed, in their order; return it.

    A wheel that cannot be read raises ``CommandFailed``.
    """
    try:
        with zipfile.ZipFile(wheel) as archive, wheel.open("rb") as source:
            wanted = set(compile_wheels.modules(archive))
            with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy:
                for info in archive.infolist():
                    if info.filename in wanted:
                        content = Member(source, info).read()
                        copy.writestr(zipfile.ZipInfo(info.filename), content)
    except zipfile.BadZipFile as error:
        raise CommandFailed(f"{wheel.name} cannot be read", why=str(error)) from None
    return target
