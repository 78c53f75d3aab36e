"""``file:`` addresses: registries in a folder of this host."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from mlruntime.errors import Unavailable
from mlruntime.host.settings import without_secrets


def path_of(url: str) -> Path | None:
    """Return the file that an address names, ``None`` if it names none of this host."""
    parts = urlsplit(url)
    ours = parts.scheme in ("file", "copy") and parts.netloc in ("", "localhost")
    return Path(unquote(parts.path)) if ours else None


def opened(path: Path, url: str) -> AbstractContextManager[BinaryIO | None]:
    """Open a file, or what a web server sends of a folder: its ``index.html``. ``None``: none.

    Raises ``Unavailable`` when it cannot be read.
    """
    try:
        return (path / "index.html" if path.is_dir() else path).open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return nullcontext()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Unavailable(f"{without_secrets(url)} could not be read", why=why) from None
