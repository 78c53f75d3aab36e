"""What a conda package says of itself, in ``info/``. Core: bytes in, values out.

Everything is refused with ``ValueError`` that is not in the documented form.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from mlruntime.layers.paths import checked

# What conda-build put into files before it could make longer ones (conda's `core.portability`).
_FIRST_PLACEHOLDER: Final = "/opt/anaconda1anaconda2anaconda3"
PYTHON: Final = "python"
T = TypeVar("T")


class _Index(msgspec.Struct, frozen=True):
    name: Annotated[str, Meta(pattern=r"^[a-z0-9_.-]+$")]
    version: str
    build: str
    build_number: int = 0
    noarch: str | bool | None = None
    depends: list[str] = []
    constrains: list[str] = []


class _Path(msgspec.Struct, frozen=True):
    path: str = msgspec.field(name="_path")
    path_type: Literal["hardlink", "softlink", "directory"] = "hardlink"
    sha256: str | None = None
    size_in_bytes: int | None = None
    prefix_placeholder: str | None = None
    file_mode: Literal["text", "binary"] | None = None


class _Paths(msgspec.Struct, frozen=True):
    paths: list[_Path]
    paths_version: Literal[1]


class _Noarch(msgspec.Struct, frozen=True):
    type: str
    entry_points: list[str] = []


class _Link(msgspec.Struct, frozen=True):
    noarch: _Noarch | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PackagePath:
    """A file or link of a package: ``kind`` ``hardlink``, ``softlink`` or ``directory``.

    ``placeholder`` is what stands in it for the prefix, ``""`` for nothing.
    """

    path: str
    kind: str
    sha256: str | None
    size: int | None
    placeholder: str = ""
    binary: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageInfo:
    """A package: ``entry_points`` are lines such as ``toy = toy.cli:main``; ``paths`` by path."""

    name: str
    version: str
    build: str
    build_number: int
    noarch: str
    depends: tuple[str, ...]
    constrains: tuple[str, ...]
    entry_points: tuple[str, ...]
    paths: Mapping[str, PackagePath]


def package_info(files: Mapping[str, bytes]) -> PackageInfo:
    """Return what the files of ``info/`` say; ``ValueError`` if that cannot be."""
    if "index.json" not in files:
        raise ValueError("it has no info/index.json")
    index = _read(files, "index.json", _Index)
    link = _read(files, "link.json", _Link) if "link.json" in files else _Link()
    noarch = link.noarch
    return PackageInfo(
        name=index.name,
        version=index.version,
        build=index.build,
        build_number=index.build_number,
        # `true` is what conda-build 2 wrote for what is `generic` today.
        noarch="generic" if index.noarch is True else index.noarch or "",
        depends=tuple(index.depends),
        constrains=tuple(index.constrains),
        entry_points=tuple(noarch.entry_points) if noarch and noarch.type == PYTHON else (),
        paths={found.path: found for found in _paths(files)},
    )


def _read(files: Mapping[str, bytes], name: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(files[name], type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise ValueError(f"info/{name}: {error}") from None


def _paths(files: Mapping[str, bytes]) -> list[PackagePath]:
    if "paths.json" not in files:
        return _old_paths(files)
    found = []
    for one in _read(files, "paths.json", _Paths).paths:
        found.append(
            PackagePath(
                path=checked(one.path),
                kind=one.path_type,
                sha256=one.sha256,
                size=one.size_in_bytes,
                placeholder=one.prefix_placeholder or "",
                binary=one.file_mode == "binary",
            )
        )
    return found


def _old_paths(files: Mapping[str, bytes]) -> list[PackagePath]:
    """Return the paths of a package from before ``paths.json``: ``files`` and ``has_prefix``."""
    if "files" not in files:
        raise ValueError("it has neither info/paths.json nor info/files")
    prefixes: dict[str, tuple[str, bool]] = {}
    for line in files.get("has_prefix", b"").decode().splitlines():
        words = shlex.split(line)
        if len(words) == 1:
            prefixes[words[0]] = (_FIRST_PLACEHOLDER, False)
        elif len(words) == 3 and words[1] in ("text", "binary"):
            prefixes[words[2]] = (words[0], words[1] == "binary")
        elif words:
            raise ValueError(f"info/has_prefix has a line that means nothing: {line!r}")
    found = []
    for line in files["files"].decode().splitlines():
        if line:
            placeholder, binary = prefixes.get(line, ("", False))
            found.append(
                PackagePath(
                    path=checked(line),
                    kind="hardlink",
                    sha256=None,
                    size=None,
                    placeholder=placeholder,
                    binary=binary,
                )
            )
    return found


def record(info: PackageInfo, details: Mapping[str, Any], files: list[str]) -> bytes:
    """Return the file in ``conda-meta/`` by which conda's own tools know that it is installed."""
    content = {
        "name": info.name,
        "version": info.version,
        "build": info.build,
        "build_number": info.build_number,
        "depends": list(info.depends),
        "constrains": list(info.constrains),
        **({"noarch": info.noarch} if info.noarch else {}),
        **details,
        "files": sorted(files),
    }
    return json.dumps(content, indent=2, sort_keys=True).encode() + b"\n"
