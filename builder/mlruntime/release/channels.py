"""What was released, and where channels point: the record of a runtime. Core: no I/O.

A version is never changed and never taken back. Channels (``candidate``, ``stable``) move, and each
move is kept. A retired version stays where it is; no channel may point at it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from mlruntime.documents.reading import did_you_mean, read_json
from mlruntime.documents.schema import Form, Natural, Text, checked, described, moment
from mlruntime.errors import HashMismatch, MlruntimeError, UsageError, ValidationFailed
from mlruntime.release.versions import RuntimeVersion, parse_version, runtime_of

FORMAT: Final = 1
CANDIDATE: Final = "candidate"
STABLE: Final = "stable"
CHANNELS: Final = (CANDIDATE, STABLE)
# What versions and channels begin with.
_OURS: Final = re.compile(r"\d+\.\d+")
_MOVED: Final = (
    "a version's tag never moves, and a channel's stays with its runtime and variant:"
    " somebody has moved it"
)
RECORD_TYPE: Final = "application/vnd.mlruntime.record.v1+json"
Digest = Annotated[str, described("a digest", "^sha256:[0-9a-f]{64}$")]


class VersionForm(Form, frozen=True):
    """One version: the digests of its index and of its variants' images."""

    version: Text
    index: Digest
    variants: dict[str, Digest]
    released: Text
    retired: str | None = None


class MoveForm(Form, frozen=True):
    """One move of a channel; ``version`` is null when it points at nothing any more."""

    channel: Literal["candidate", "stable"]
    version: str | None
    at: Text
    why: str


class RecordForm(Form, frozen=True):
    """The record of a runtime."""

    format: Natural
    runtime: Text
    versions: list[VersionForm]
    moves: list[MoveForm]


def tags_of(
    version: RuntimeVersion, variants: Iterable[tuple[str, str]], index: str
) -> dict[str, str]:
    """Return a version's tags. The index is last: a version is there when its index is."""
    return {**{version.tag(variant): digest for variant, digest in variants}, version.tag(): index}


@dataclass(frozen=True, kw_only=True, slots=True)
class Released:
    """A version that was released; ``retired`` says why nobody should use it any more.

    ``index`` and those of ``variants`` are digests; ``released`` is RFC 3339 in UTC.
    """

    version: RuntimeVersion
    index: str
    variants: tuple[tuple[str, str], ...]
    released: str
    retired: str | None = None

    @property
    def tags(self) -> dict[str, str]:
        """Return the tags that are this version's own, with their digests; the index's last."""
        return tags_of(self.version, self.variants, self.index)


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """One move of a channel."""

    channel: str
    version: RuntimeVersion | None
    at: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """Every version of a runtime, oldest first, and every move of its channels."""

    runtime: str
    versions: tuple[Released, ...] = ()
    moves: tuple[Move, ...] = ()

    @property
    def latest(self) -> Released | None:
        """Return the newest version, retired or not."""
        return max(self.versions, key=lambda v: v.version.patch, default=None)

    def previous(self, version: RuntimeVersion) -> Released | None:
        """Return the newest version that is older than another one."""
        older = (v for v in self.versions if v.version < version)
        return max(older, key=lambda v: v.version.patch, default=None)

    def version(self, text: str) -> Released:
        """Return a version, or raise ``UsageError`` with a "did you mean"."""
        wanted = parse_version(self.runtime, text)
        for found in self.versions:
            if found.version == wanted:
                return found
        known = [v.version.text for v in self.versions]
        raise UsageError(f"{text} was never released", hint=did_you_mean(text, known))

    def where(self, channel: str) -> RuntimeVersion | None:
        """Return the version that a channel points at."""
        found = [move.version for move in self.moves if move.channel == channel]
        return found[-1] if found else None

    def same(self, variants: Iterable[tuple[str, str]]) -> Released | None:
        """Return the version that has exactly these images: (variant, digest)."""
        wanted = tuple(sorted(variants))
        return next((v for v in self.versions if v.variants == wanted), None)

    def with_version(self, made: Released) -> "Record":
        """Return the record with one more version."""
        versions = (*self.versions, made)
        return replace(self, versions=tuple(sorted(versions, key=lambda v: v.version.patch)))

    def moved(self, channel: str, version: RuntimeVersion | None, *, at: str, why: str) -> "Record":
        """Return the record with a channel at another version; the same one if it is there.

        A retired version is refused.
        """
        if version is not None:
            found = self.version(version.text)
            if found.retired is not None:
                raise UsageError(
                    f"{version.text} is retired", why=found.retired, hint="choose another version"
                )
        if self.where(channel) == version:
            return self
        move = Move(channel=channel, version=version, at=at, why=why)
        return replace(self, moves=(*self.moves, move))

    def trail(self, channel: str) -> tuple[RuntimeVersion, ...]:
        """Return the versions by which a channel came to where it is, the newest last.

        When it goes back to one of them, what came after that one is left: going back twice must
        not lead forward again.
        """
        found: list[RuntimeVersion] = []
        for move in self.moves:
            if move.channel != channel or move.version is None:
                continue
            if move.version in found:
                del found[found.index(move.version) :]
            found.append(move.version)
        return tuple(found)

    def before(self, channel: str) -> RuntimeVersion | None:
        """Return the last version on a channel's trail before this one that is not retired."""
        trail = self.trail(channel)
        older = trail if self.where(channel) is None else trail[:-1]
        usable = (v for v in reversed(older) if self.version(v.text).retired is None)
        return next(usable, None)

    def retiring(self, version: RuntimeVersion, *, at: str, why: str) -> "Record":
        """Return the record with a version retired; channels at it go back to the one before."""
        made = self
        for channel in CHANNELS:
            if made.where(channel) == version:
                made = made.moved(channel, made.before(channel), at=at, why=f"retired: {why}")
        versions = tuple(
            replace(v, retired=why) if v.version == version else v for v in made.versions
        )
        return replace(made, versions=versions)

    def channel_tags(self, channel: str) -> dict[str, str | None]:
        """Return what each tag of a channel points at; ``None``: there must be no such tag.

        The version that it is at may lack variants that the one before had, and a channel may be at
        no version any more. The index's tag is last.
        """
        if all(move.channel != channel for move in self.moves):
            return {}
        at = self.where(channel)
        version = self.version(at.text) if at else None
        here = dict(version.variants) if version else {}
        names = sorted({name for v in self.versions for name, _ in v.variants})
        found = {channel_tag(self.runtime, name, channel): here.get(name) for name in names}
        return found | {
            channel_tag(self.runtime, None, channel): version.index if version else None
        }

    def to_json(self) -> str:
        """Return the record's text; equal records give equal bytes."""
        value: dict[str, Any] = {
            "format": FORMAT,
            "runtime": self.runtime,
            "versions": [
                {
                    "version": v.version.text,
                    "index": v.index,
                    "variants": dict(v.variants),
                    "released": v.released,
                    **({"retired": v.retired} if v.retired is not None else {}),
                }
                for v in self.versions
            ],
            "moves": [
                {
                    "channel": m.channel,
                    "version": m.version.text if m.version else None,
                    "at": m.at,
                    "why": m.why,
                }
                for m in self.moves
            ],
        }
        return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def channel_tag(runtime: str, variant: str | None, channel: str) -> str:
    """Return a channel's tag: ``6.0-ml-cpu`` is stable, ``6.0-ml-cpu-candidate`` is not yet."""
    name = runtime + (f"-{variant}" if variant else "")
    return name if channel == STABLE else f"{name}-{channel}"


def misnamed(
    tag: str | None, entry: str | None, released: Mapping[str, Any]
) -> ValidationFailed | None:
    """Return what is wrong with the names of an image: its tag, and what an index calls it.

    ``released`` says its runtime, version and variant. A tag that begins with two numbers is a
    name of ours, and must be one of this image's; others are their owners' affair.
    """
    runtime, version, variant = (str(released[key]) for key in ("runtime", "version", "variant"))
    if entry not in (None, variant):
        return ValidationFailed(
            f"the index calls it {entry}, and it was released as {variant}",
            why="somebody has made another index of released images",
        )
    ours = {version, *(channel_tag(runtime, None, channel) for channel in CHANNELS)}
    if entry is None:
        ours |= {f"{version}-{variant}"}
        ours |= {channel_tag(runtime, variant, channel) for channel in CHANNELS}
    if tag is None or not _OURS.match(tag) or tag in ours:
        return None
    return ValidationFailed(f"the tag {tag} is on {version}, {variant}", why=_MOVED)


def misnamed_index(tag: str | None, version: str) -> ValidationFailed | None:
    """Return what is wrong with the tag of an index, which says of which ``version`` it is."""
    ours = {version, *(channel_tag(runtime_of(version), None, channel) for channel in CHANNELS)}
    if tag is None or not _OURS.match(tag) or tag in ours:
        return None
    return ValidationFailed(f"the tag {tag} is on the index of {version}", why=_MOVED)


def record_tag(runtime: str) -> str:
    """Return the tag under which a registry keeps the record of a runtime."""
    return f"{runtime}-record"


def parse_record(text: str, *, file: str, error: type[MlruntimeError] = HashMismatch) -> Record:
    """Read a record; raise ``error`` for one that nobody of us has written."""
    top = read_json(text, file=file, error=error)
    form = checked(RecordForm, top)
    if form.format != FORMAT:
        raise top.get("format").fail(
            f"format {form.format} is not known; this mlruntime reads {FORMAT}"
        )

    def version(said: str) -> RuntimeVersion:
        return parse_version(form.runtime, said)

    return Record(
        runtime=form.runtime,
        versions=tuple(
            Released(
                version=version(v.version),
                index=v.index,
                variants=tuple(sorted(v.variants.items())),
                released=moment(v.released, top.get("versions").at(index).get("released")),
                retired=v.retired,
            )
            for index, v in enumerate(form.versions)
        ),
        moves=tuple(
            Move(
                channel=m.channel,
                version=version(m.version) if m.version else None,
                at=m.at,
                why=m.why,
            )
            for m in form.moves
        ),
    )
