"""Conda's ``environment.yml``: what it asks for. Core: text in, values out."""

from collections.abc import Iterator
from re import fullmatch
from typing import Final

from mlruntime.definitions.runtime import CHANNEL
from mlruntime.documents.reading import Location, read_yaml
from mlruntime.ecosystems.pypi.requirements import each_line
from mlruntime.errors import InvalidDefinition
from mlruntime.host.secrets import without_secrets
from mlruntime.importing.lines import of_lines
from mlruntime.importing.model import CONDA, PIP, Foreign, NotTaken, RequestedPackage
from mlruntime.importing.specs import read_spec

# What conda means by the channels that it has if none is named: `main` is the one for Python.
_DEFAULTS: Final = ("defaults", "main")
_MOST: Final = 20_000
_DEPENDENCIES: Final = "dependencies"
_READ: Final = ("name", "channels", _DEPENDENCIES)
_KEPT_OUT: Final = {
    "prefix": "a runtime is no place on one machine",
    "variables": "an image's variables are in images/layers.yaml",
    "platforms": "images are for linux-64",
}


def read_environment(text: str, *, file: str) -> Foreign:
    """Return what an ``environment.yml`` asks for; ``InvalidDefinition`` if it is none."""
    top = read_yaml(text, file=file)
    if not isinstance(top.value, dict) or _DEPENDENCIES not in top.value:
        raise InvalidDefinition(
            "this is neither an environment.yml nor a conda-lock.yml",
            where=file,
            why=f"the first has a list `{_DEPENDENCIES}:`, the second a list `package:`",
        )
    found = [*_others(top), *_channels(top), *_dependencies(top.get(_DEPENDENCIES))]
    name = top.maybe("name")
    return Foreign(
        name=name.text() if name else "",
        channels=tuple(one for one in found if isinstance(one, str)),
        wanted=tuple(one for one in found if isinstance(one, RequestedPackage)),
        not_taken=tuple(one for one in found if isinstance(one, NotTaken)),
    )


def _others(top: Location) -> Iterator[NotTaken]:
    for key in top.value:
        if key not in _READ:
            why = _KEPT_OUT.get(key, "it means nothing to conda either")
            yield NotTaken(what=f"the key {key!r}", where=top.get(key).where, why=why)


def _channels(top: Location) -> Iterator[str | NotTaken]:
    listed = top.maybe("channels")
    if listed is None:
        yield _DEFAULTS[1]
        return
    for channel in listed.each():
        name = channel.text()
        if name == "nodefaults":
            why = "no other channel than those that are listed is asked anyway"
            yield NotTaken(what="nodefaults", where=channel.where, why=why)
        else:
            kept = _DEFAULTS[1] if name == _DEFAULTS[0] else name.rstrip("/")
            yield channel_or_not(kept, channel.where)


def channel_or_not(name: str, where: str) -> str | NotTaken:
    """Return a channel as a runtime may name it."""
    if fullmatch(CHANNEL, name):
        return name
    what = f"the channel {without_secrets(name)}"
    why = "a runtime names a channel by name or address, without a login"
    return NotTaken(what=what, where=where, why=why, hint="logins: docs/conda.md")


def _dependencies(listed: Location) -> Iterator[RequestedPackage | NotTaken]:
    # Aliases can make a small file say very much.
    left = iter(range(_MOST))
    for item in listed.each():
        _count(left, listed)
        if isinstance(item.value, dict):
            for manager, lines in item.items():
                if manager != PIP:
                    what = f"the packages of {manager!r}"
                    yield NotTaken(what=what, where=item.where, why="only pip's are known")
                    continue
                yield from _pip(lines, left)
        else:
            yield from _conda(item)


def _count(left: Iterator[int], listed: Location) -> None:
    if next(left, None) is None:
        raise listed.fail(f"more than {_MOST} packages are listed")


def _pip(listed: Location, left: Iterator[int]) -> Iterator[RequestedPackage | NotTaken]:
    for item in listed.each():
        _count(left, listed)
        if "\n" in (text := item.text()):
            yield NotTaken(what=repr(text[:80]), where=item.where, why="it has several lines")
            continue
        yield from of_lines(each_line(text, file=item.where))


def _conda(item: Location) -> Iterator[RequestedPackage | NotTaken]:
    text = item.text()
    spec = read_spec(text)
    if spec is None:
        why = "it is no match specification"
        yield NotTaken(
            what=repr(text[:80]), where=item.where, why=why, hint="name, or `name >=1,<2`"
        )
        return
    if spec.channel:
        yield NotTaken(
            what=f"{spec.name} from the channel {spec.channel}",
            where=item.where,
            why="it is taken from the first channel that has it",
            hint=f"put {spec.channel} before the others in `conda: channels:`",
        )
    yield RequestedPackage(
        manager=CONDA,
        name=spec.name,
        where=item.where,
        specifier=spec.specifier,
        spec=spec.text,
    )
