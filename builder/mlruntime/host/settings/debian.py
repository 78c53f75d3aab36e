"""Which Debian archives apt is configured to use, and with which options."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from mlruntime.errors import UsageError
from mlruntime.host.settings.credentials import Login, of_url
from mlruntime.host.settings.files import is_there, listed

DEBIAN_HINT: Final = (
    "point MLRUNTIME_DEBIAN_SOURCES at a deb822 .sources file that names a Debian mirror,"
    " its suites and its keyring"
)
_PARTS: Final = ("", "-updates", "-security")
# What apt takes for yes and for no: sources.list(5), apt's own StringToBool.
_YES: Final = frozenset({"yes", "true", "with", "on", "enable", "1"})
_NO: Final = frozenset({"no", "false", "without", "off", "disable", "0"})
# apt's options about how far it trusts an archive, by deb822 name; all of them are kept.
_OPTIONS: Final = (
    "Check-Valid-Until",
    "Valid-Until-Min",
    "Valid-Until-Max",
    "Check-Date",
    "Date-Max-Future",
    "Allow-Insecure",
    "Allow-Weak",
    "Allow-Downgrade-To-Insecure",
    "InRelease-Path",
    "By-Hash",
    "PDiffs",
    "Snapshot",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AptSource:
    """One archive that apt uses: ``part`` is its suite without the release (``-security``).

    ``signed_by`` is what apt's option of that name holds: a keyring's path, a key, or nothing.
    ``options`` are apt's other options, by their deb822 names. ``uri`` has no password: ``login``
    is the one that was in it, ``setting`` the file.
    """

    uri: str
    part: str
    signed_by: str | None
    trusted: bool = False
    options: tuple[tuple[str, str], ...] = ()
    login: tuple[Login, ...] = field(default=(), repr=False, compare=False)
    setting: str = field(default="", compare=False)

    def entry(self, codename: str, areas: tuple[str, ...] = ("main",)) -> str:
        """Return the deb822 stanza that makes apt read areas of this archive for one release."""
        lines = [
            "Types: deb",
            f"URIs: {self.uri}",
            f"Suites: {codename}{self.part}",
            f"Components: {' '.join(areas)}",
        ]
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        if self.trusted:
            lines.append("Trusted: yes")
        lines += [f"{name}: {value}" for name, value in self.options]
        return "\n".join(lines) + "\n"


def suite_part(suite: str) -> str:
    """Return ``-security`` of ``bookworm-security``; nothing of ``bookworm``."""
    return next((part for part in _PARTS[1:] if suite.endswith(part)), "")


def debian_sources(environ: Mapping[str, str], etc: Path) -> Iterator[AptSource]:
    """Yield the archives that serve Debian's own ``main`` to this host."""
    given = environ.get("MLRUNTIME_DEBIAN_SOURCES")
    if given:
        path = Path(given)
        if not is_there(path):
            raise UsageError(f"MLRUNTIME_DEBIAN_SOURCES names a file that is not there: {given}")
        yield from _file(path, None)
        return
    release = _os_release(etc / "os-release")
    if release.get("ID") != "debian":
        return
    codename = release.get("VERSION_CODENAME", "")
    # apt passes over what is no file as well: a folder, a link that leads nowhere.
    for path in filter(is_there, debian_files(etc)):
        yield from _file(path, codename)


def debian_files(etc: Path) -> list[Path]:
    """Return the files of apt that may name archives, in the order in which they count."""
    lists = etc / "apt/sources.list.d"
    return [
        etc / "apt/sources.list",
        *listed(lists, "*.list"),
        *listed(lists, "*.sources"),
    ]


def _file(path: Path, codename: str | None) -> Iterator[AptSource]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text, so it names no Debian archives") from None
    except PermissionError:  # a vendor's, with a password in it; `forbidden` tells of it
        return
    one_line = path.suffix == ".list" or path.name == "sources.list"
    yield from (_one_line if one_line else _deb822)(text, codename, str(path))


def _os_release(path: Path) -> dict[str, str]:
    text = path.read_text(encoding="utf-8", errors="replace") if is_there(path) else ""
    lines = text.splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key: value.strip().strip("\"'") for key, value in pairs}


def _kept(suites: list[str], components: list[str], codename: str | None) -> Iterator[str]:
    """Yield the part of each suite that belongs to the host's release.

    That is what tells Debian's archive from a vendor's in the same directory: a vendor's suites
    are not called ``bookworm-security``.
    """
    if "main" not in components:
        return
    for suite in suites:
        part = suite_part(suite)
        release = suite.removesuffix(part)
        if codename is None or release in (
            codename,
            "stable",
            "oldstable",
            "testing",
            "unstable",
            "sid",
        ):
            yield part


def _deb822(text: str, codename: str | None, file: str) -> Iterator[AptSource]:
    # Imported late: it takes longer than all other settings together.
    from debian.deb822 import Deb822

    for stanza in Deb822.iter_paragraphs(text, use_apt_pkg=False):
        if "deb" not in stanza.get("Types", "").split():
            continue
        if stanza.get("Enabled", "yes").lower() in _NO or not _amd64(stanza.get("Architectures")):
            continue
        suites, components = stanza.get("Suites", "").split(), stanza.get("Components", "").split()
        options = {name.lower(): value for name, value in stanza.items()}
        for part in _kept(suites, components, codename):
            for uri in stanza.get("URIs", "").split():
                yield from _sources(uri, part, options, file)


def _one_line(text: str, codename: str | None, file: str) -> Iterator[AptSource]:
    pattern = re.compile(
        r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<rest>.+)"
    )
    for line in text.splitlines():
        match = pattern.fullmatch(line.partition("#")[0].strip())
        if not match:
            continue
        words = (match["options"] or "").split()
        options = dict(word.lower().split("=", 1)[:1] + word.split("=", 1)[1:] for word in words
                       if "=" in word)  # fmt: skip
        if not _amd64(options.get("arch")):
            continue
        for part in _kept([match["suite"]], match["rest"].split(), codename):
            yield from _sources(match["uri"], part, options, file)


def _amd64(architectures: str | None) -> bool:
    return architectures is None or "amd64" in re.split(r"[,\s]+", architectures.strip())


def _sources(uri: str, part: str, options: Mapping[str, str], file: str) -> Iterator[AptSource]:
    for address in _mirrors(uri):
        bare, login = of_url(address, file, "debian")
        yield AptSource(
            uri=bare.rstrip("/"),
            part=part,
            signed_by=options.get("signed-by"),
            trusted=options.get("trusted", "no").strip().lower() in _YES,
            options=tuple((n, options[n.lower()]) for n in _OPTIONS if n.lower() in options),
            login=login,
            setting=file,
        )


def _mirrors(uri: str) -> list[str]:
    """Return the archives of a list of mirrors on this host (``mirror+file:``), or the one."""
    split = urlsplit(uri)
    if split.scheme != "mirror+file":
        return [uri]
    path = Path(unquote(split.path))
    if not is_there(path):
        raise UsageError(f"apt's list of mirrors is not there: {path}")
    lines = (
        line.partition("#")[0].split() for line in path.read_text(errors="replace").splitlines()
    )
    return [words[0] for words in lines if words]
