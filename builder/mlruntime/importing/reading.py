"""Which of the formats a file has, and what it asks for. Core: text in, values out."""

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import Any, Final

from packaging.pylock import Package, Pylock, PylockValidationError
from packaging.utils import canonicalize_name

from mlruntime.documents.reading import read_yaml
from mlruntime.ecosystems.pypi.requirements import each_line
from mlruntime.errors import InvalidDefinition, UsageError
from mlruntime.importing.environment_file import channel_or_not, read_environment
from mlruntime.importing.lines import of_lines
from mlruntime.importing.model import CONDA, PIP, Foreign, NotTaken, RequestedPackage
from mlruntime.importing.specs import read_spec
from mlruntime.lock.conda_lock import PLATFORM, LockedPackage, read_conda_lock

_FORMATS: Final = "requirements.txt, environment.yml, pylock.toml or conda-lock.yml"
_DIRECT: Final = "only packages of an index can be locked"
_PUBLISH: Final = "publish it in an index of yours, and ask for it by name and version"


def read_foreign(text: str, *, file: str) -> Foreign:
    """Return what a file asks for.

    Raises ``InvalidDefinition`` or ``InvalidLock`` with the place, if it is not what its name
    says, and ``UsageError`` for a name that says none of the formats.
    """
    name = PurePath(file).name.lower()
    if name.endswith((".txt", ".in")):
        found = _requirements(text, file)
    elif name.endswith(".toml"):
        found = _pylock(text, file)
    elif name.endswith((".yml", ".yaml")):
        top = read_yaml(text, file=file).value
        is_lock = isinstance(top, dict) and "package" in top
        found = _conda_lock(text, file) if is_lock else read_environment(text, file=file)
    else:
        raise UsageError(
            f"{PurePath(file).name!r} does not say what it is", hint=f"a file like {_FORMATS}"
        )
    if not found.wanted:
        why = f"{found.not_taken[0].text}" if found.not_taken else None
        raise InvalidDefinition("nothing of this file can be taken over", where=file, why=why)
    return found


def _requirements(text: str, file: str) -> Foreign:
    found = list(of_lines(each_line(text, file=file)))
    return Foreign(
        wanted=tuple(one for one in found if isinstance(one, RequestedPackage)),
        not_taken=tuple(one for one in found if isinstance(one, NotTaken)),
    )


def _pylock(text: str, file: str) -> Foreign:
    try:
        top = tomllib.loads(text)
    except (ValueError, RecursionError) as problem:
        what = str(problem).partition("\n")[0]
        raise InvalidDefinition(f"not valid TOML: {what}", where=file) from None
    if "lock-version" not in top:
        raise InvalidDefinition(
            "this is no pylock.toml",
            where=file,
            why="it has no lock-version (PEP 751)",
            hint="`uv export --format pylock.toml` writes one; a pyproject.toml is not read",
        )
    try:
        lock = Pylock.from_dict(top)
        # Each of these is looked at only when it is used.
        packages = [(package, _direct(package)) for package in lock.packages]
    except (PylockValidationError, ValueError, TypeError, AttributeError, KeyError) as problem:
        raise InvalidDefinition(
            "this is no valid pylock.toml", where=file, why=str(problem)
        ) from None
    needed = {name for package, _ in packages for name in _named(package)}
    is_whole = bool(needed)
    wanted: list[RequestedPackage] = []
    left: list[NotTaken] = []
    inner = 0
    for index, (package, direct) in enumerate(packages):
        where = f"{file}: packages[{index}]"
        if direct:
            left.append(
                NotTaken(
                    what=f"{package.name} from a {direct}", where=where, why=_DIRECT, hint=_PUBLISH
                )
            )
        elif is_whole and package.name in needed:
            inner += 1
            continue
        wanted += [
            RequestedPackage(
                manager=PIP,
                name=canonicalize_name(package.name),
                where=where,
                specifier=f"=={package.version}" if package.version else "",
                marker=str(package.marker or ""),
            )
        ] * (not direct)
    return Foreign(
        python=str(lock.requires_python or ""),
        wanted=tuple(wanted),
        not_taken=(*left, *_inner(inner, file)),
    )


def _direct(package: Package) -> str:
    named: dict[str, Any] = {
        "version control system": package.vcs,
        "directory": package.directory,
        "URL": package.archive,
    }
    return next((name for name, value in named.items() if value is not None), "")


def _named(package: Package) -> Iterator[str]:
    for one in package.dependencies or ():
        if isinstance(name := one.get("name"), str):
            yield canonicalize_name(name)


def _inner(count: int, file: str) -> tuple[NotTaken, ...]:
    """Return that packages are left to the solver because only others need them."""
    if not count:
        return ()
    what = f"{count} packages that others need"
    return (NotTaken(what=what, where=file, why="`mlruntime lock` finds what the runtime needs"),)


def _conda_lock(text: str, file: str) -> Foreign:
    lock = read_conda_lock(text, file=file)
    ours = [package for package in lock.packages if package.platform == PLATFORM]
    if not ours:
        others = ", ".join(sorted({package.platform for package in lock.packages}))
        raise InvalidDefinition(
            f"this file has no packages for {PLATFORM}",
            where=file,
            why=f"it has: {others}" if others else None,
            hint="lock with `--platform linux-64`",
        )
    needed = {(p.manager, name) for p in ours for name, _ in p.dependencies}
    roots = [p for p in ours if (p.manager, p.name) not in needed or p.name == "python"]
    channels = [channel_or_not(one.rstrip("/"), f"{file}: channels") for one in lock.channels]
    found = [_locked(package, file) for package in roots]
    return Foreign(
        channels=tuple(one for one in channels if isinstance(one, str)),
        wanted=tuple(one for one in found if isinstance(one, RequestedPackage)),
        not_taken=(
            *(one for one in (*channels, *found) if isinstance(one, NotTaken)),
            *_inner(len(ours) - len(roots), file),
        ),
    )


def _locked(package: LockedPackage, file: str) -> RequestedPackage | NotTaken:
    where = f"{file}: {package.manager} package {package.name}"
    if package.manager == PIP:
        found = [*of_lines(each_line(f"{package.name}=={package.version}", file=where))]
        if len(found) != 1:
            return NotTaken(what=repr(package.name[:80]), where=file, why="it is no package's name")
        return replace(found[0], where=where)
    spec = read_spec(f"{package.name} =={package.version}")
    if spec is None or spec.name != package.name:
        return NotTaken(what=package.name, where=where, why="it is no name of a conda package")
    return RequestedPackage(
        manager=CONDA,
        name=package.name,
        where=where,
        specifier=spec.specifier,
        spec=spec.text,
    )
