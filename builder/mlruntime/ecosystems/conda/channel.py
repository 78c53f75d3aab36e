"""Channels: where they are, and what they list (``repodata.json``) for the images' platform."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mlruntime.ecosystems.conda import SUBDIRS
from mlruntime.ecosystems.conda.archive import MISSING, readable, unzstd
from mlruntime.errors import InvalidLock, Unavailable
from mlruntime.host.settings import Sources, without_secrets

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web

_REPODATA: Final = "repodata.json"
# conda-forge's has 0.4 GB in 2026.
_REPODATA_BYTES: Final = 4 << 30
_HINT: Final = (
    "name a mirror of it: MLRUNTIME_CONDA_CHANNELS='{channel}=https://mirror/{channel}', or"
    " file:///… for a copy on this host (docs/conda.md)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What a channel lists for one subdir: a ``repodata.json`` on disk, from ``url``."""

    channel: str
    subdir: str
    url: str
    path: Path


def channel_url(channel: str, sources: Sources) -> str:
    """Return the address of a channel that a runtime or a lock names, without a slash at its end.

    A name is this host's to say: a mirror, conda's own settings, or conda's default. Raises
    ``Unavailable`` if nothing says it.
    """
    if "://" in channel or channel.startswith("file:"):
        return channel.rstrip("/")
    named = dict(sources.conda.named)
    if channel in named:
        return named[channel]
    first, _, rest = channel.partition("/")
    if first in named and rest:
        return f"{named[first]}/{rest}"
    if sources.conda.alias:
        return f"{sources.conda.alias}/{channel}"
    try:
        from rattler import Channel
    except ImportError:
        raise Unavailable(
            f"nothing says where the channel {channel} is",
            hint=f"{MISSING}, which knows conda's own default; or {_hint(channel)}",
        ) from None
    return str(Channel(channel).base_url).rstrip("/")


def _hint(channel: str) -> str:
    return _HINT.format(channel=channel.rpartition("/")[2] if "://" in channel else channel)


def listings(channel: str, sources: Sources, web: "Web", scratch: Path) -> tuple[Listing, ...]:
    """Return what a channel lists, downloaded to ``scratch``; a subdir may be missing.

    Raises ``Unavailable`` if the channel cannot be reached, or has no subdir of ours.
    """
    url = channel_url(channel, sources)
    found = []
    for subdir in SUBDIRS:
        path = scratch / f"{subdir}.json"
        try:
            there = _download(f"{url}/{subdir}", web, path)
        except Unavailable as error:
            raise Unavailable(
                f"the channel {channel} cannot be read",
                where=error.where or without_secrets(f"{url}/{subdir}/{_REPODATA}"),
                why=f"{error.what}: {error.why}" if error.why else error.what,
                hint=f"check the network and the login, or {_hint(channel)}",
            ) from None
        if there:
            found.append(Listing(channel=channel, subdir=subdir, url=url, path=path))
    if not found:
        raise Unavailable(
            f"there is no channel {channel}",
            where=without_secrets(url),
            why=f"neither {' nor '.join(SUBDIRS)} has a {_REPODATA} there",
            hint=f"correct its name; or {_hint(channel)}",
        )
    return tuple(found)


def _download(url: str, web: "Web", path: Path) -> bool:
    """Fetch the compressed list if there is one, else the other; return whether there is any."""
    packed = path.with_suffix(".zst")
    if _fetch(f"{url}/{_REPODATA}.zst", web, packed):
        try:
            with readable(f"{_REPODATA}.zst"), packed.open("rb") as source, unzstd(source) as plain:
                left = _REPODATA_BYTES
                with path.open("wb") as target:
                    while block := plain.read(1 << 20):
                        left -= len(block)
                        if left < 0:
                            raise ValueError("it is larger than any channel's")
                        target.write(block)
        except InvalidLock as error:
            raise Unavailable(
                "its list of packages cannot be read",
                where=without_secrets(f"{url}/{_REPODATA}.zst"),
                why=error.why,
            ) from None
        packed.unlink()
        return True
    return _fetch(f"{url}/{_REPODATA}", web, path)


def _fetch(url: str, web: "Web", path: Path) -> bool:
    return web.download(url, path, grown=lambda _: None, size=None, part="conda")
