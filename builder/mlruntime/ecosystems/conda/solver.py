"""Which conda packages a runtime gets: rattler's solver over what channels list.

rattler solves and nothing else: lists and packages are downloaded as everything is, by this host's
settings, and unpacked by ``install``.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mlruntime.ecosystems.conda import ORIGIN
from mlruntime.ecosystems.conda.archive import MISSING, stem
from mlruntime.ecosystems.conda.channel import Listing, listings
from mlruntime.errors import InvalidDefinition, InvalidLock, NoCompatibleVersions, Unavailable
from mlruntime.host.settings import Sources, without_secrets
from mlruntime.lock.packages import Artifact, CondaPackage

if TYPE_CHECKING:
    from mlruntime.fetch.web import Web

# The oldest kernel that is promised: what conda-lock supposes, too (its `virtual-packages`).
_KERNEL: Final = "5.10"


@dataclass(frozen=True, kw_only=True, slots=True)
class Virtual:
    """What the host of an image is known to have: ``glibc`` "2.36", ``cuda`` "12.4" or ``""``."""

    glibc: str
    cuda: str = ""

    @property
    def packages(self) -> dict[str, str]:
        """Return the virtual packages by name."""
        always = {"__unix": "0", "__linux": _KERNEL, "__glibc": self.glibc, "__archspec": "1"}
        return always | ({"__cuda": self.cuda} if self.cuda else {})


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """Packages, sorted by name, and rattler's own ``records`` of them."""

    packages: tuple[CondaPackage, ...]
    records: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Channels:
    """What channels list, in the order of their priority.

    ``snapshot`` is the moment (RFC 3339, UTC) after which packages do not exist.
    """

    snapshot: str
    listed: tuple[Listing, ...]

    def solve(
        self, specs: Iterable[str], virtual: Virtual, near: Solution | None = None
    ) -> Solution:
        """Return the packages that fulfil ``specs``, with strict priority of channels.

        Packages of ``near`` are taken wherever they fit.
        Raises ``NoCompatibleVersions`` with the solver's explanation, ``InvalidDefinition`` for a
        spec that cannot be read, ``Unavailable`` for a list that cannot be used.
        """
        rattler, listed = _rattler(), self.listed
        try:
            parsed = [rattler.MatchSpec(spec, strict=True) for spec in specs]
        except rattler.exceptions.InvalidMatchSpecError as error:
            raise InvalidDefinition(
                "a line of `conda:` is no match specification",
                where="runtime.yaml: conda.packages",
                why=str(error),
                hint='for example "zlib >=1.2,<2" or "numpy 1.26.* py311*"',
            ) from None
        with _usable(listed):
            lists = [
                rattler.SparseRepoData(rattler.Channel(one.url), one.subdir, one.path)
                for one in listed
            ]
        try:
            with _usable(listed):
                found = asyncio.run(
                    rattler.solve_with_sparse_repodata(
                        parsed,
                        lists,
                        virtual_packages=list(_virtual(rattler, virtual)),
                        locked_packages=near.records if near else (),
                        channel_priority=rattler.ChannelPriority.Strict,
                        exclude_newer=datetime.fromisoformat(self.snapshot),
                        timestamp_policy="allow-missing",
                    )
                )
        except rattler.exceptions.SolverError as error:
            raise NoCompatibleVersions(
                "the conda packages that are asked for do not go together",
                where=f"channels: {', '.join(dict.fromkeys(one.channel for one in listed))}",
                why=str(error).strip(),
                hint="ask for other versions, or add a channel that has them; packages made after"
                f" {self.snapshot} are ignored (`snapshot:`)",
            ) from None
        packages = (_package(record, listed) for record in found)
        return Solution(
            packages=tuple(sorted(packages, key=lambda package: package.name)),
            records=tuple(found),
        )


def read_channels(
    names: Iterable[str], sources: Sources, web: "Web", scratch: Path, snapshot: str
) -> Channels:
    """Download what channels list to ``scratch``, an empty directory.

    Raises ``Unavailable`` if one cannot be read, or what solves is not installed.
    """
    _rattler()
    found: list[Listing] = []
    failed: list[Unavailable] = []
    for number, name in enumerate(names):
        folder = scratch / str(number)
        folder.mkdir()
        try:
            found += listings(name, sources, web, folder)
        except Unavailable as error:  # all are tried, so that one message tells what is missing
            failed.append(error)
    if len(failed) > 1:
        raise Unavailable(
            "; ".join(error.what for error in failed),
            why="; ".join(f"{error.where}: {error.why}" for error in failed),
            hint=" and ".join(dict.fromkeys(str(error.hint) for error in failed)),
        )
    if failed:
        raise failed[0]
    return Channels(snapshot=snapshot, listed=tuple(found))


class _usable:  # noqa: N801
    """Turn what rattler raises for a list that it cannot read into ``Unavailable``."""

    def __init__(self, listed: Sequence[Listing]) -> None:
        self._listed = listed

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError | ValueError | TypeError):
            where = ", ".join(dict.fromkeys(without_secrets(one.url) for one in self._listed))
            raise Unavailable(
                "a channel's list of packages cannot be used",
                where=where,
                why=str(error),
                hint="ask whoever runs the channel, or name a mirror of it",
            ) from None


def _rattler() -> Any:
    try:
        import rattler
        import rattler.exceptions
    except ImportError:
        raise Unavailable("conda packages are solved by py-rattler", hint=MISSING) from None
    return rattler


def _virtual(rattler: Any, virtual: Virtual) -> Iterable[Any]:
    for name, version in virtual.packages.items():
        build = "x86_64" if name == "__archspec" else "0"
        yield rattler.GenericVirtualPackage(
            rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build)
        )


def _package(record: Any, listed: Sequence[Listing]) -> CondaPackage:
    filename = record.file_name
    urls = {f"{one.url}/{one.subdir}/{filename}": one for one in listed}
    source = urls.get(str(record.url))
    if source is None:
        raise Unavailable(
            f"{filename} is not kept where its channel is",
            where=without_secrets(str(record.url)),
            hint="name a mirror of the channel that keeps its packages itself",
        )
    if record.sha256 is None or record.size is None:
        raise Unavailable(
            f"the channel gives no {'size' if record.sha256 else 'sha256'} for {filename}",
            where=without_secrets(source.url),
            hint="index the channel anew (`conda index`), or ask for another build",
        )
    try:
        stem(filename)
    except InvalidLock as error:
        raise Unavailable(error.what, where=without_secrets(source.url), why=error.why) from None
    return CondaPackage(
        artifact=Artifact(
            kind="conda",
            name=record.name.normalized,
            version=str(record.version),
            filename=filename,
            size=record.size,
            sha256=record.sha256.hex(),
            origin=f"{ORIGIN}:{source.subdir}:{source.channel}",
        ),
        build=str(record.build),
        md5=record.md5.hex() if record.md5 is not None else "",
        depends=tuple(record.depends),
    )
