"""A Debian package as dpkg knows it once it is unpacked: its notes, and the database of them all.

The formats are dpkg's own: deb-control(5), deb-triggers(5), deb-conffiles(5), and what dpkg
1.21 and 1.22 write below ``/var/lib/dpkg``. Core: values in, text out.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mlruntime.layers.paths import UnsafePath, checked

INFO: Final = "var/lib/dpkg/info"
# A conffile that has been unpacked and not yet been configured.
_NEW: Final = "newconffile"
_NOT_KEPT: Final = "control"
_SUMS: Final = "md5sums"
_INTERESTS: Final = ("interest", "interest-await", "interest-noawait")


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlMember:
    """A file of a package's control archive."""

    name: str
    content: bytes
    executable: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlArchive:
    """The control archive of a package: its ``paragraph``, and every file of it by name."""

    name: str
    multi_arch_same: bool
    architecture: str
    paragraph: str
    members: tuple[ControlMember, ...]

    @property
    def files_name(self) -> str:
        """Return the name that its files in dpkg's database start with."""
        return f"{self.name}:{self.architecture}" if self.multi_arch_same else self.name

    def has(self, name: str) -> bool:
        """Return whether its control archive has a file."""
        return any(member.name == name for member in self.members)

    @property
    def conffiles(self) -> tuple[str, ...]:
        """Return the paths of the conffiles it brings; with a flag come those that are to go."""
        return tuple(line for line in self.lines("conffiles") if line.startswith("/"))

    def info(self, listed: Iterable[tuple[str, str]]) -> Iterator[ControlMember]:
        """Yield its files in dpkg's ``info`` directory.

        ``listed`` are the paths it brings, each with its MD5 if that is known; the MD5s are only
        used if the package has no list of them, as dpkg does.
        """
        listed = tuple(listed)
        files = [(m.name, m.content, m.executable) for m in self.members if m.name != _NOT_KEPT]
        files.append(("list", "".join(f"/{path or '.'}\n" for path, _ in listed).encode(), False))
        if not self.has(_SUMS):
            sums = (f"{md5}  {path}\n" for path, md5 in listed if md5)
            files.append((_SUMS, "".join(sums).encode(), False))
        for name, content, executable in files:
            name = f"{self.files_name}.{name}"
            yield ControlMember(name=name, content=content, executable=executable)

    def lines(self, name: str) -> tuple[str, ...]:
        """Return the lines of a file of its control archive, if it is there, without comments."""
        text = next((m.content.decode() for m in self.members if m.name == name), "")
        return tuple(s for line in text.splitlines() if (s := line.partition("#")[0].strip()))


def file_name(text: str) -> str:
    """Return a name that a package gives to a file of dpkg's; ``UnsafePath`` if it is none."""
    if not text or "/" in text or checked(text) != text:
        raise UnsafePath(f"{text!r} is not a file name")
    return text


def database(packages: Iterable[ControlArchive]) -> dict[str, str]:
    """Return what dpkg writes below ``/var/lib/dpkg`` when it has unpacked packages, by path.

    The files in ``info`` are not among it.
    """
    packages = tuple(packages)
    return {
        "info/format": "1\n",
        "status": "\n".join(_status(package) for package in packages),
        **{f"triggers/{name}": text for name, text in _triggers(packages).items()},
    }


def _status(package: ControlArchive) -> str:
    text = f"{package.paragraph.rstrip()}\nStatus: install ok unpacked\n"
    if conffiles := package.lines("conffiles"):
        text += "Conffiles:\n" + "".join(f" {_conffile(line)}\n" for line in conffiles)
    return text


def _conffile(line: str) -> str:
    """Return a conffile's line of the status; in its package, a flag may come first."""
    flag, slash, path = line.partition("/")
    return f"{slash}{path} {_NEW} {flag}".rstrip()


def _triggers(packages: tuple[ControlArchive, ...]) -> Mapping[str, str]:
    """Return dpkg's lists of who is interested in what; paths are all in one, ``File``."""
    found: dict[str, str] = {"File": "", "Unincorp": ""}
    for package in packages:
        for line in package.lines("triggers"):
            directive, _, name = line.partition(" ")
            if directive not in _INTERESTS:
                continue
            if not name.startswith("/"):
                name = file_name(name)
            who = package.files_name + ("/noawait" if directive.endswith("-noawait") else "")
            file, entry = ("File", f"{name} {who}") if name.startswith("/") else (name, who)
            found[file] = found.get(file, "") + f"{entry}\n"
    return found
