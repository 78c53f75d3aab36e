"""An environment as one archive, which makes itself at home on a host without mlruntime.

It is a tar archive, compressed if its name says so. ``unpack.sh`` in it checks the host and every
file, and writes what is made for one place.
"""

import io
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, cast

from isal import igzip

from mlruntime.environment.creation import UNPACK, beside, is_personal
from mlruntime.environment.description import LOCK, Description, read_description
from mlruntime.environment.entries import walked
from mlruntime.environment.layout import NOTES
from mlruntime.environment.personal import fish_script, pip_conf, posix_script, pyvenv
from mlruntime.errors import InvalidLock, UsageError
from mlruntime.layers.sink import MTIME
from mlruntime.lock.model import CONDA_PREFIX
from mlruntime.store.store import storage_errors

_ROOT: Final = "@ROOT@"
_KEPT_NOTES: Final = (f"{NOTES}/environment.json", f"{NOTES}/files.json", LOCK)
_ENDINGS: Final = (".tar", ".tar.gz", ".tgz")
_HERE: Final = Path(__file__).parent
# Of isal's four, the fastest: an archive is written once and read a few times.
_LEVEL: Final = 1


def refuse_archive(path: Path) -> None:
    """Raise ``UsageError`` for a file that no archive can be written to."""
    if not path.name.endswith(_ENDINGS):
        raise UsageError(
            f"{path.name} does not say what kind of archive to write",
            hint=f"a name that ends with {', '.join(_ENDINGS)}",
        )
    if path.exists():
        raise UsageError("this file exists", where=str(path), hint="name another one")


def _refuse_conda(root: Path) -> None:
    """Raise ``UsageError`` for an environment with conda packages: they know where they are."""
    if (root / CONDA_PREFIX / "conda-meta").is_dir():
        raise UsageError(
            "an environment with conda packages cannot be packed",
            where=str(root),
            why="its files hold the path that it is at",
            hint="there, `mlruntime env create` makes the same from `mlruntime store export`",
        )


def pack(root: Path, archive: Path) -> int:
    """Write an environment as an archive, in one step; return the archive's size in bytes.

    What was added to the environment comes along, bytecode does not.
    """
    description = read_description(root)
    _refuse_conda(root)
    top = PurePosixPath(archive.name.removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar"))
    with storage_errors(archive.parent, instead="name another file"), beside(archive) as folder:
        new = folder / "archive"
        with (
            new.open("xb") as target,
            _compressed(archive, target) as stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as tar,
        ):
            for path, content in _made(description).items():
                _add_bytes(tar, top / path, content)
            for path in sorted(walked(root)):
                if path in _KEPT_NOTES or not is_personal(path):
                    _add(tar, top / path, root / path)
        new.replace(archive)
    return archive.stat().st_size


def _made(description: Description) -> Mapping[str, bytes]:
    """Return what an archive has and an environment has not."""
    here = description.relative.at(PurePosixPath(_ROOT))
    templates = {
        "activate": posix_script(here),
        "activate.fish": fish_script(here),
        "pip.conf": pip_conf(PurePosixPath(_ROOT)).replace("%40ROOT%40", _ROOT),
        "pyvenv.cfg": pyvenv(PurePosixPath("@HOME@/@NAME@"), "@VERSION@"),
    }
    needs = f"NEEDS_GLIBC={description.glibc}\nNEEDS_PYTHON={description.minor}\n"
    return {
        UNPACK: (_HERE / "unpack.sh").read_bytes(),
        f"{NOTES}/unpack.py": (_HERE / "unpack.py").read_bytes(),
        f"{NOTES}/needs": needs.encode(),
        **{f"{NOTES}/templates/{name}": text.encode() for name, text in templates.items()},
    }


@contextmanager
def _compressed(archive: Path, target: BinaryIO) -> Iterator[BinaryIO]:
    if archive.name.endswith(".tar"):
        yield target
        return
    new: Any = igzip.IGzipFile  # without annotations
    with new(filename="", mode="wb", compresslevel=_LEVEL, fileobj=target, mtime=0) as stream:
        yield cast("BinaryIO", stream)


def _add_bytes(tar: tarfile.TarFile, name: PurePosixPath, content: bytes) -> None:
    info = _info(name, executable=name.name == UNPACK)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _add(tar: tarfile.TarFile, name: PurePosixPath, path: Path) -> None:
    status = path.lstat()
    info = _info(name, executable=bool(status.st_mode & 0o100))
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, os.readlink(path), 0o777  # noqa: PTH115
        tar.addfile(info)
    elif stat.S_ISREG(status.st_mode):
        info.size = status.st_size
        with path.open("rb") as content:
            tar.addfile(info, content)


def _info(name: PurePosixPath, *, executable: bool) -> tarfile.TarInfo:
    info = tarfile.TarInfo(str(name))
    info.mode, info.mtime = (0o755 if executable else 0o644), MTIME
    return info


def extract(archive: Path, folder: Path) -> Path:
    """Extract an archive into an empty directory; return the environment's directory in it.

    Raises ``InvalidLock`` for what is no archive of an environment.
    """
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as problem:
        raise InvalidLock(
            "this is no archive of an environment, or a part of one",
            where=str(archive),
            why=str(problem) or type(problem).__name__,
            hint="copy it again, or pack it anew",
        ) from None
    found = [path for path in folder.iterdir() if (path / NOTES).is_dir()]
    if len(found) != 1:
        raise InvalidLock("there is no environment in this archive", where=str(archive))
    return found[0]


def without_scripts(root: Path) -> None:
    """Remove what only a host without mlruntime needs."""
    for name in (UNPACK, f"{NOTES}/unpack.py", f"{NOTES}/needs"):
        (root / name).unlink(missing_ok=True)
    shutil.rmtree(root / NOTES / "templates", ignore_errors=True)
