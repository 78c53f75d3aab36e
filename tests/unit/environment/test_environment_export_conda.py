"""A lock with conda's Python as conda-lock's and pixi's files, read and installed by these."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import rattler
import yaml
from mlruntime.errors import InvalidLock, UsageError
from mlruntime.fetch.web import Web
from mlruntime.host.settings import discover
from mlruntime.lock.packages import CondaPackage
from mlruntime.lock.pixi import write_pixi_lock
from mlruntime.locking.registries import HostRegistries
from mlruntime.workflows.environment.exports import Export, export
from mlruntime.workflows.host import Host

from tests.unit.channels import write_channel
from tests.unit.environment.test_environment import World
from tests.unit.environment.test_environment_conda import PACKAGES, CondaWorld
from tests.unit.lock.test_conda_lock import NUMPY
from tests.unit.servers import JSON, Server, serving


class Served:
    """A runtime with conda's Python, a channel on disk, and an index that may want a password."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = CondaWorld(folder / "world")
        self.channel = write_channel(folder / "a channel", list(PACKAGES))
        self.world.conda = [self._as_listed(p) for p in self.world.conda]
        self.server = Server()

    def _as_listed(self, package: CondaPackage) -> CondaPackage:
        listed = json.loads((self.channel / package.subdir / "repodata.json").read_text())
        found = (listed["packages"] | listed["packages.conda"])[package.artifact.filename]
        assert found["sha256"] == package.artifact.sha256
        return replace(package, md5=found["md5"])

    @contextmanager
    def host(self) -> Iterator[Host]:
        for wheel in self.world.wheels:
            content = self.world.registry[wheel.sha256].read_bytes()
            self.server.put(f"/files/{wheel.filename}", content)
            listed = {"filename": wheel.filename, "url": f"/files/{wheel.filename}"}
            listed["hashes"] = {"sha256": wheel.sha256}
            page = {"meta": {"api-version": "1.1"}, "name": wheel.name, "files": [listed]}
            self.server.put(f"/simple/{wheel.name}/", json.dumps(page), JSON)
        with serving(self.server) as server:
            address = server.url
            if server.password:
                address = address.replace("://", f"://{':'.join(server.password)}@")
            environ = {"UV_DEFAULT_INDEX": f"{address}/simple"}
            environ["MLRUNTIME_CONDA_CHANNELS"] = f"toys={self.channel.as_uri()}"
            sources = discover(environ, home=self.folder)

            @contextmanager
            def registries() -> Iterator[HostRegistries]:
                scratch = self.folder / "scratch"
                scratch.mkdir(exist_ok=True)
                with Web(sources) as web:
                    yield HostRegistries(
                        sources=sources,
                        web=web,
                        store=self.world.store,
                        scratch=scratch,
                        environ={},
                    )

            yield replace(self.world.host, registries=registries)

    def exported(self, format_: str, wheels: Path | None = None) -> str:
        wanted = Export(format=format_, output=None, wheels=wheels)
        with self.host() as host:
            written = export(self.world.lock, "cpu", host, wanted)
        names = ["lib", "nvidia-cudnn", "pyspark", "python", "tool", "toy"]
        assert [name for name, _ in written.packages] == names
        assert not written.left_out
        return written.text


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


# conda-lock's imports want subprocess whole, and it brings parts of conda that warn.
@pytest.mark.starts
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_conda_lock_reads_and_renders_it(served: Served, tmp_path: Path) -> None:
    from conda_lock.conda_lock import render_lockfile_for_platform
    from conda_lock.lockfile import parse_conda_lock_file

    served.server.password = ("me", "secret")
    text = served.exported("conda-lock")
    assert "secret" not in text
    path = tmp_path / "conda-lock.yml"
    path.write_text(text)
    lines = render_lockfile_for_platform(
        lockfile=parse_conda_lock_file(path),
        extras=set(),
        kind="explicit",
        platform="linux-64",
        include_dev_dependencies=True,
    )
    for package in served.world.conda:
        address = f"{served.channel.as_uri()}/{package.subdir}/{package.artifact.filename}"
        assert f"{address}#{package.md5}" in lines
    for wheel in served.world.wheels:
        address = f"{served.server.url}/files/{wheel.filename}"
        assert f"# pip {wheel.name} @ {address}#sha256={wheel.sha256}" in lines


def test_rattler_installs_what_a_pixi_lock_has(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "pixi.lock"
    path.write_text(served.exported("pixi"))
    assert yaml.safe_load(path.read_text())["version"] == 6
    read = rattler.LockFile.from_path(path)
    environment = read.default_environment()
    assert environment is not None
    (platform,) = read.platforms()
    assert [str(channel) for channel in environment.channels()] == [
        str(rattler.LockChannel(f"{served.channel.as_uri()}/"))
    ]
    found = {package.name: package for package in environment.packages(platform) or ()}
    assert len(found) == 6
    for wheel in served.world.wheels:
        one = found[wheel.name]
        assert (str(one.version), one.hashes.sha256.hex()) == (wheel.version, wheel.sha256)
        assert one.location == f"{served.server.url}/files/{wheel.filename}"
    records = environment.conda_repodata_records_for_platform(platform)
    assert records is not None
    prefix = tmp_path / "prefix"
    asyncio.run(rattler.install(records, prefix, cache_dir=tmp_path / "cache"))
    assert (prefix / "etc/lib.conf").read_text() == f"at {prefix}\n"
    # A package without a platform has its module where this Python looks, and its command.
    python = served.world.lock.component("python").rpartition(".")[0]
    assert (prefix / f"lib/python{python}/site-packages/tool.py").is_file()
    assert (prefix / "bin/tool").is_file()


@pytest.mark.parametrize("format_", ["conda-lock", "pixi"])
def test_wheels_may_be_files_of_a_directory(served: Served, tmp_path: Path, format_: str) -> None:
    folder = tmp_path / "the wheels"
    text = served.exported(format_, folder)
    assert not served.server.requests  # an index is not needed
    key = "pypi" if format_ == "pixi" else "url"
    listed = yaml.safe_load(text)["packages" if format_ == "pixi" else "package"]
    for wheel in served.world.wheels:
        assert (folder / wheel.filename).as_uri() in [one.get(key) for one in listed]
        assert (folder / wheel.filename).is_file()


@pytest.mark.parametrize("format_", ["conda-lock", "pixi"])
def test_without_conda_s_python_there_is_nothing_to_install_into(
    tmp_path: Path, format_: str
) -> None:
    world = World(tmp_path / "world")
    wanted = Export(format=format_, output=None, wheels=None)
    for lock in (world.lock, replace(world.lock, conda=(NUMPY,))):
        with pytest.raises(UsageError, match="has no Python of a conda channel") as caught:
            export(lock, "cpu", world.host, wanted)
        assert format_ in str(caught.value.why)


def test_a_channel_without_md5_is_told(served: Served) -> None:
    served.world.conda[0] = replace(served.world.conda[0], md5="")
    with pytest.raises(InvalidLock, match="has no MD5"):
        served.exported("conda-lock")
    assert "md5" in served.exported("pixi")


def test_equal_packages_give_equal_bytes() -> None:
    package = replace(NUMPY, depends=("python",))
    other = replace(package, artifact=replace(package.artifact, name="zlib"))
    pairs = [(package, "u"), (other, "v")]
    assert write_pixi_lock(pairs, [], ["c"]) == write_pixi_lock(pairs[::-1], [], ["c/"])


def test_a_package_that_needs_no_python_is_generic() -> None:
    def noarch(*depends: str) -> str:
        artifact = replace(NUMPY.artifact, origin="conda:noarch:toys")
        package = replace(NUMPY, artifact=artifact, depends=depends)
        (found,) = yaml.safe_load(write_pixi_lock([(package, "u")], [], []))["packages"]
        return str(found["noarch"])

    assert noarch("python >=3.9") == noarch("x", "python") == noarch("python=3.11") == "python"
    assert noarch() == noarch("python_abi 3.11", "pythonic") == "generic"
