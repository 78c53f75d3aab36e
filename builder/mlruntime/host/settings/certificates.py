"""The authorities that downloads trust, and the certificate this host shows of itself."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlruntime.errors import UsageError
from mlruntime.host.settings.files import is_folder, is_there

CA_VARIABLES: Final = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# pip and requests take a directory of certificates here as well.
_OR_DIRECTORY: Final = ("PIP_CERT", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Authorities:
    """A bundle and the setting that names it, and directories; both empty: the system's own."""

    bundle: Path | None = None
    setting: str | None = None
    directories: tuple[Path, ...] = ()


def authorities(
    environ: Mapping[str, str], given: Path | None, more: Iterable[tuple[str, str]] = ()
) -> Authorities:
    """Return what is to be trusted.

    ``given`` (``--ca-bundle``) goes alone; else the first variable that is set, then ``more``
    (settings of files), with the directories of ``SSL_CERT_DIR`` that are there. Raises
    ``UsageError`` when a file that was named is not there.
    """
    named = [("--ca-bundle", str(given))] if given else []
    named += [(name, environ[name]) for name in CA_VARIABLES if environ.get(name)]
    files = list(more)
    named += files
    folders = [Path(word) for word in environ.get("SSL_CERT_DIR", "").split(":") if word]
    directories = () if given else tuple(path for path in folders if is_folder(path))
    for name, value in named:
        path = Path(value)
        if is_folder(path) and (name in _OR_DIRECTORY or (name, value) in files):
            return Authorities(setting=name, directories=(path, *directories))
        if not is_there(path):
            raise UsageError(f"{name} names a file that is not there: {path}")
        return Authorities(bundle=path, setting=name, directories=directories)
    return Authorities(directories=directories)
