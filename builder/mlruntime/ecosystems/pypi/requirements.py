"""Requirements files, as far as a lock can keep what they ask for. Core: text in, values out.

pip's format, less all that is no package of an index: which index to use is the host's own setting,
and a lock cannot hold another machine to a URL, a path or a checkout.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mlruntime.errors import InvalidDefinition

_HASH: Final = re.compile(r"(?<=\s)--hash[=\s]\s*(\S+)")
_SHA256: Final = re.compile(r"sha256:([0-9a-f]{64})")
_COMMENT: Final = re.compile(r"(^|(?<=\s))#.*$")
# Without its hashes. No name with versions and markers is that long.
_LONGEST: Final = 2000
_ARCHIVES: Final = (".whl", ".tar.gz", ".zip", ".tar.bz2")
_ONLY_INDEX: Final = "only packages of an index can be locked"
_PUBLISH: Final = "publish it in an index of yours, and ask for it by name and version"


@dataclass(frozen=True, kw_only=True, slots=True)
class RequirementLine:
    """One requirement: ``where`` it stands (FILE:NUMBER), and the sha256 its file must have one of.

    Without ``hashes`` any file will do.
    """

    requirement: Requirement
    where: str
    hashes: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Return the package's normalized name (PEP 503)."""
        return canonicalize_name(self.requirement.name)

    @property
    def text(self) -> str:
        """Return the line as a requirements file has it, hashes included."""
        hashes = (f" --hash=sha256:{sha256}" for sha256 in sorted(self.hashes))
        return f"{self.requirement}{''.join(hashes)}"


def without_hashes(text: str) -> str:
    """Return a line's requirement alone."""
    return _HASH.sub("", text).strip()


def parse_requirements(text: str, *, file: str) -> tuple[RequirementLine, ...]:
    """Read a requirements file; raises ``InvalidDefinition`` with the line of what cannot be kept.

    A package may be named once only.
    """
    lines = tuple(_line(words, f"{file}:{number}") for number, words in _logical(text))
    if not lines:
        raise InvalidDefinition("no package is asked for", where=file)
    seen: dict[str, str] = {}
    for line in lines:
        if line.name in seen:
            raise InvalidDefinition(
                f"{line.requirement.name} is asked for twice",
                where=line.where,
                why=f"the first time at {seen[line.name]}",
                hint="write one line, with commas between what both say",
            )
        seen[line.name] = line.where
    return lines


def each_line(text: str, *, file: str) -> Iterator[RequirementLine | InvalidDefinition]:
    """Yield each line of a requirements file, or the error that says why it cannot be kept."""
    for number, words in _logical(text):
        try:
            yield _line(words, f"{file}:{number}")
        except InvalidDefinition as error:
            yield error


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, continued ones joined, each with its first number."""
    held, begun = "", 0
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = _COMMENT.sub("", raw)
        line = line if line == raw else line.rstrip()
        begun = begun or number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        if words := (held + line).strip():
            yield begun, words
        held, begun = "", 0
    if words := held.strip():
        yield begun, words


def _line(words: str, where: str) -> RequirementLine:
    if words.startswith("-"):
        raise _option(words, where)
    hashes = _HASH.findall(words)
    bare = without_hashes(words)
    if len(bare) > _LONGEST:
        raise InvalidDefinition(f"a line of {len(bare)} characters is no requirement", where=where)
    if " --" in f" {bare}":
        raise _option(bare[bare.index("--") :], where)
    for text in hashes:
        if not _SHA256.fullmatch(text):
            raise InvalidDefinition(
                f"{text} is no sha256", where=where, hint="write --hash=sha256:…, 64 hex digits"
            )
    named = bare.lower().endswith(_ARCHIVES) and "://" not in bare
    if named or bare.startswith((".", "/", "~")):
        raise _elsewhere(f"{bare} is a file or directory", where)
    try:
        requirement = Requirement(bare)
    except InvalidRequirement as error:
        if "://" in bare:
            raise _elsewhere(f"{bare} is a URL", where) from None
        raise InvalidDefinition(
            f"{bare!r} is no requirement",
            where=where,
            why=str(error).partition("\n")[0],
            hint="write a name and versions, such as lightgbm>=4,<5",
        ) from None
    if requirement.url:
        raise _elsewhere(f"{requirement.name} comes from a URL", where)
    found = frozenset(text.removeprefix("sha256:") for text in hashes)
    return RequirementLine(requirement=requirement, where=where, hashes=found)


def _elsewhere(what: str, where: str) -> InvalidDefinition:
    return InvalidDefinition(what, where=where, why=_ONLY_INDEX, hint=_PUBLISH)


def _option(words: str, where: str) -> InvalidDefinition:
    option = re.split(r"[=\s]", words, maxsplit=1)[0]
    if option in ("-e", "--editable"):
        return _elsewhere(f"{words} is an editable install", where)
    if option in ("-r", "--requirement", "-c", "--constraint"):
        hint = "write its lines into this file; versions are held to the lock without constraints"
    else:
        hint = "which index is asked, and how, is this machine's setting (docs/host-settings.md)"
    return InvalidDefinition(f"the option {option} is not supported here", where=where, hint=hint)
