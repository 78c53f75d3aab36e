"""The directory that driver and executors share, in which the files are."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from sparkdl.data._errors import DataError
from sparkdl.data._write import HOW_TO_SHARE, file_system

_SETTING = "spark.sparkdl.sharedDirectory"


def shared(spark: Any, directory: str | None) -> str:
    """Return the directory to write into."""
    chosen = directory or spark.conf.get(_SETTING, None)
    if chosen:
        if "://" not in chosen and not chosen.startswith(("/", "file:/")):
            raise DataError(f"the shared directory {chosen!r} must be an absolute path or a URI")
        return chosen.rstrip("/")
    master = spark.conf.get("spark.master", "")
    if master.split("[")[0] == "local":
        return tempfile.gettempdir()
    raise DataError(f"no directory was given for the data to be written to. {HOW_TO_SHARE}")


def make(directory: str) -> None:
    """Make a directory for the driver's user alone."""
    files, path = file_system(directory)
    if files.type_name == "local":
        try:
            Path(path).mkdir(mode=0o700)  # it is the user's data
        except OSError as error:
            raise DataError(f"{path} cannot be made on the driver: {error.strerror}") from None
    else:
        files.create_dir(path)


def delete(directory: str) -> None:
    """Delete a directory, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        files, path = file_system(directory)
        files.delete_dir(path)


def require_seen(directory: str, reports: list[Any]) -> None:
    """Raise unless this machine sees every file: if it does not, ranks will not either."""
    from pyarrow import fs

    files, path = file_system(directory)
    seen = {Path(info.path).name for info in files.get_file_info(fs.FileSelector(path))}
    for report in reports:
        if report.name not in seen:
            raise DataError(
                f"{Path(path).parent} is not shared: {report.host} wrote {report.name} there, and "
                f"the driver does not see it. {HOW_TO_SHARE}"
            )
