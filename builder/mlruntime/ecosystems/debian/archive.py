"""Debian packages: the closure that apt would install into an empty system.

apt works in a root of its own (state, cache, sources, an empty dpkg database), so neither what
is installed on this host nor its pins have a say; only where the archives are and how to reach
them is taken from the host.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from debian.deb822 import Packages
from debian.debian_support import NativeVersion

from mlruntime.ecosystems.debian import ORIGIN
from mlruntime.ecosystems.debian.reach import advice, apt_environ, apt_lines, apt_logins
from mlruntime.errors import ArtifactNotFound, CommandFailed, InvalidDefinition, Unavailable
from mlruntime.host.command import require, run
from mlruntime.host.settings import DEBIAN_HINT, Sources, suite_part
from mlruntime.host.settings.apt import OF_ANY_SCHEME
from mlruntime.lock.packages import Artifact

ARCHITECTURE = "amd64"
CODENAMES = {"11": "bullseye", "12": "bookworm", "13": "trixie", "14": "forky"}
_PARTS = ("", "-updates", "-security")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """One package of an index: its suite and its paragraph, still as text."""

    suite: str
    text: str

    def artifact(self) -> Artifact:
        """Return the package; ``Unavailable`` for a paragraph without what a lock needs of it."""
        try:
            paragraph = next(iter(Packages.iter_paragraphs(self.text, use_apt_pkg=False)))
            pool = paragraph["Filename"]
            found = Artifact(
                kind="deb",
                name=paragraph["Package"],
                version=paragraph["Version"],
                filename=PurePosixPath(pool).name,
                size=int(paragraph["Size"]),
                sha256=paragraph["SHA256"].lower(),
                origin=f"{ORIGIN}:{self.suite}:{pool}",
            )
        except (KeyError, ValueError, StopIteration) as problem:
            missing = isinstance(problem, KeyError)
            raise self._unusable(
                f"it has no field {problem}" if missing else str(problem)
            ) from None
        if not _SHA256.fullmatch(found.sha256) or found.size < 0 or not found.filename:
            raise self._unusable("its SHA256, Size or Filename is none")
        return found

    def key(self) -> tuple[str, str]:
        """Return the package's name and version."""
        fields = dict(_FIELDS.findall(self.text))
        try:
            return fields["Package"], fields["Version"]
        except KeyError as problem:
            raise self._unusable(f"it has no field {problem}") from None

    def _unusable(self, why: str) -> Unavailable:
        return Unavailable(
            f"the index of {self.suite} has a paragraph that nothing can be locked from",
            where=self.text.strip().partition("\n")[0][:80],
            why=why,
            hint="the archive's tool must write Package, Version, Filename, Size and SHA256",
        )


class Archive:
    """One Debian release as this host's apt sees it at this moment."""

    def __init__(
        self, sources: Sources, release: str, root: Path, areas: tuple[str, ...] = ("main",)
    ) -> None:
        """Read the indices of a release's areas into ``root``, an empty directory of the caller's.

        Raises ``Unavailable`` on a host without apt or without a Debian archive.
        """
        if release not in CODENAMES:
            raise InvalidDefinition(
                f"Debian {release} is not known", hint=f"known: {', '.join(CODENAMES)}"
            )
        self._codename = CODENAMES[release]
        require("apt-get", hint="lock on a Debian host (or in a Debian container), where apt is")
        if not sources.debian:
            raise Unavailable("no Debian archive is configured on this host", hint=DEBIAN_HINT)
        self._config = root / "apt.conf"
        self._environ = apt_environ(sources)
        _lay_out(root, sources, self._codename, areas, self._config)
        try:
            self._apt("update", "-o", "APT::Update::Error-Mode=any")
        except CommandFailed as error:
            raise Unavailable(
                f"the archive of Debian {self._codename} could not be read",
                why=error.why,
                hint=advice(error.why or "", sources),
            ) from None
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._base: set[str] = set()
        for entry in _read_indices(root / "state/lists", self._codename):
            self._add(entry)
        self._names = frozenset(name for name, _ in self._entries)

    @property
    def base(self) -> tuple[str, ...]:
        """Return the names every system has: Essential, Priority required, and apt.

        Where the release has ``usr-is-merged`` it is among them: the image is laid out merged
        from the start, and without it apt would choose the conversion tool and all of Perl.
        """
        merged = {"usr-is-merged"} & self._names
        return tuple(sorted(self._base | merged | {"apt"}))

    @property
    def names(self) -> frozenset[str]:
        """Return the names of all packages of the release."""
        return self._names

    def has(self, name: str) -> bool:
        """Return whether the release has a package of this name."""
        return name in self._names

    def package(self, name: str) -> Artifact:
        """Return one package, without what it depends on: the newest there is of it.

        Raises ``ArtifactNotFound`` for a name the release does not have.
        """
        versions = [version for other, version in self._entries if other == name]
        if not versions:
            raise ArtifactNotFound(
                f"Debian {self._codename} has no package {name!r} in the areas asked for",
                hint="check the recipe, and whether the archive that is configured has that area",
            )
        newest = max(versions, key=NativeVersion)
        return self._entries[name, newest].artifact()

    def closure(self, names: Iterable[str]) -> tuple[Artifact, ...]:
        """Return everything an installation of ``names`` on an empty system brings, by name.

        Recommended packages are left out. Raises ``ArtifactNotFound`` for a name the release
        does not have, ``InvalidDefinition`` when the packages exclude each other.
        """
        wanted = sorted(set(names))
        for name in wanted:
            if not self.has(name):
                raise ArtifactNotFound(
                    f"Debian {self._codename} has no package {name!r}",
                    hint="check the name in runtime.yaml, matrix.yaml or the recipe",
                )
        # apt explains on stdout, which is lost when it fails; the resolver's notes are on stderr.
        notes = ("-o", "Debug::pkgProblemResolver=yes")
        options = ("--print-uris", "-qq", "-y", "--no-install-recommends", *notes)
        try:
            printed = self._apt("install", *options, *wanted)
        except CommandFailed as error:
            raise InvalidDefinition(
                f"Debian {self._codename} cannot have these packages together: {', '.join(wanted)}",
                why=error.why,
            ) from None
        chosen = [self._entries[key].artifact() for key in _printed(printed)]
        return tuple(sorted(chosen, key=lambda a: a.name))

    def _add(self, entry: _Entry) -> None:
        fields, key = dict(_FIELDS.findall(entry.text)), entry.key()
        self._entries.setdefault(key, entry)
        if fields.get("Essential") == "yes" or fields.get("Priority") == "required":
            self._base.add(key[0])

    def _apt(self, *words: str) -> str:
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        env = {"APT_CONFIG": str(self._config), "LC_ALL": "C.UTF-8", "PATH": path} | self._environ
        return run(["apt-get", *words], env=env, timeout=900)


_SHA256 = re.compile("[0-9a-f]{64}")
_FIELDS = re.compile(r"^(Package|Version|Essential|Priority): (.*)$", re.MULTILINE)
_URI = re.compile(r"^'[^']*' (\S+) \d+ ")


def _printed(text: str) -> Iterator[tuple[str, str]]:
    """Yield (name, version) from what ``--print-uris`` writes; an epoch's colon comes as %3a."""
    for line in text.splitlines():
        if match := _URI.match(line):
            name, version, _ = match[1].split("_")
            yield name, version.replace("%3a", ":")


def _lay_out(
    root: Path, sources: Sources, codename: str, areas: tuple[str, ...], config: Path
) -> None:
    for directory in ("state/lists/partial", "cache/archives/partial", "sources", "none"):
        (root / directory).mkdir(parents=True)
    root.chmod(0o700)  # passwords for archives and proxies are in these files
    (root / "status").touch()
    entries = (source.entry(codename, areas) for source in sources.debian)
    (root / "sources/archives.sources").write_text("\n".join(entries), encoding="utf-8")
    settings = {
        "APT::Architecture": ARCHITECTURE,
        "APT::Architectures": ARCHITECTURE,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::GzipIndexes": "false",
        "Acquire::Retries": "3",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
        "Dir::State": root / "state",
        "Dir::State::status": root / "status",
        "Dir::Cache": root / "cache",
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": root / "none",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": root / "sources",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": root / "none",
        "Dir::Etc::netrc": root / "auth.conf",
        "Dir::Etc::netrcparts": root / "none",
    }
    lines = [f'{key} "{value}";' for key, value in settings.items()]
    lines += apt_lines(sources, root)
    (root / "auth.conf").write_text(apt_logins(sources), encoding="utf-8")
    config.write_text("\n".join((*reach_settings(), *lines)) + "\n", encoding="utf-8")


def reach_settings() -> list[str]:
    """Return the host's settings for reaching the archives: proxies, certificates, time limits."""
    lines = run(["apt-config", "dump"]).splitlines()
    wanted = re.compile(rf'(?:Acquire::https?::\S+|{OF_ANY_SCHEME}) "[^"]+";')
    return [line for line in lines if wanted.match(line)]


def paragraphs(content: str, suite: str) -> Iterator[_Entry]:
    """Yield the packages of a Packages file of a suite."""
    for text in content.split("\n\n"):
        if text.strip():
            yield _Entry(suite=suite, text=text)


def _read_indices(lists: Path, codename: str) -> Iterator[_Entry]:
    """Yield the paragraphs of all Packages files, the release's own before its updates'."""
    pattern = re.compile(r"_dists_([^_]+)_[a-z-]+_binary-\w+_Packages$")
    found = [(match[1], path) for path in lists.iterdir() if (match := pattern.search(path.name))]
    for suite, path in sorted(found, key=lambda pair: (_PARTS.index(suite_part(pair[0])), pair[1])):
        # Its fields are ASCII but for the description, which nobody asks for.
        content = path.read_text(encoding="utf-8", errors="replace")
        yield from paragraphs(content, suite)
    if not found:
        raise Unavailable(
            f"the archive has no package index of Debian {codename}", hint=DEBIAN_HINT
        )
