"""Configuring Debian packages: the locked ones, and toy packages among them."""

import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlruntime.build import bootstrap
from mlruntime.build.context import BuildContext
from mlruntime.build.maker import cached_layer
from mlruntime.ecosystems.debian import packages as debian
from mlruntime.ecosystems.debian.archive import Archive
from mlruntime.engine import Engine
from mlruntime.engine.archives import Root
from mlruntime.errors import CommandFailed, InvalidDefinition, Unavailable
from mlruntime.image.config import ImageConfig
from mlruntime.image.image import ImageLayer
from mlruntime.image.sources.debian import DebianPackages
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store
from mlruntime.workflows.store.stores import fetcher, host_sources

from tests.conftest import Runtime
from tests.unit.debs import Content, deb

pytestmark = pytest.mark.engine

Configure = Callable[..., debian.ConfiguredFiles]


def blob(store: Store, digest: str) -> Path:
    path = store.blob(digest.removeprefix("sha256:"))
    assert path is not None
    return path


@pytest.fixture
def configure(
    runtime: Runtime, engine: Engine, store: Store, shop: BuildContext, tmp_path: Path
) -> Iterator[Configure]:
    """Configure the runtime's system with more packages in it, as a build would."""

    kept: list[str] = []

    def written(name: str, fill: Callable[[LayerWriter], None]) -> ImageLayer:
        path = tmp_path / name
        with path.open("wb") as target:
            writer = LayerWriter(target)
            fill(writer)
            made = writer.finish()
        kept.append(made.digest.removeprefix("sha256:"))
        store.keep_blob(path, kept[-1])
        return ImageLayer(name=name, blob=made, cached=False, seconds=0)

    def configured(*more: tuple[Artifact, Path]) -> debian.ConfiguredFiles:
        system = [
            layer for layer in runtime.plan.layers if isinstance(layer.content, DebianPackages)
        ]
        below = [cached_layer(store, layer) for layer in system]
        toys = written("toys", lambda writer: debian.unpack(writer, more))
        blank = written("blank", lambda writer: writer.directory("mlr"))
        config: ImageConfig = bootstrap.CONFIG
        root = Root(
            image=shop.stage((blank,), config),
            layers=tuple(blob(store, b.digest) for b in (*below, toys.blob) if b),
        )
        packages = [(a, blob(store, a.sha256)) for layer in system for a in layer.content.artifacts]
        scratch = Path(tempfile.mkdtemp(dir=tmp_path))
        read = [debian.read_package(*pair) for pair in (*packages, *more)]
        said: list[str] = []
        try:
            return bootstrap.configure(engine, root, read, scratch, said.append)
        finally:
            (tmp_path / "said").write_text("\n".join(said))

    yield configured
    for sha256 in kept:
        store.discard(sha256)


def files(*paths: str) -> dict[str, Content]:
    return dict.fromkeys(paths, b"1\n")


def test_two_packages_with_the_same_file_are_refused(configure: Configure, tmp_path: Path) -> None:
    toy = deb(tmp_path, "toy", files("./bin/tini", "./usr/share/doc/toy/copyright"))
    with pytest.raises(CommandFailed, match=r"two packages bring the same file: /usr/bin/tini$"):
        configure(toy)


def test_a_layer_that_cannot_be_laid_out_leaves_no_container(
    runtime: Runtime, engine: Engine
) -> None:
    before = {thing.id for thing in engine.owned()}
    with pytest.raises(Unavailable, match="failed at copying into"):
        engine.start(runtime.image, ["true"], contents=[lambda: iter([b"this is no tar archive"])])
    assert {thing.id for thing in engine.owned()} == before


def test_a_script_that_fails_is_told_with_its_last_words(
    configure: Configure, tmp_path: Path
) -> None:
    script = b"#!/bin/sh\necho 'no toys here' >&2\nexit 3\n"
    toy = deb(tmp_path, "toy", files("./usr/bin/toy"), {"preinst": script})
    with pytest.raises(CommandFailed, match="no toys here"):
        configure(toy)


def test_what_maintainer_scripts_do_is_what_changes(configure: Configure, tmp_path: Path) -> None:
    preinst = (
        b'#!/bin/sh\necho "$1 $DPKG_MAINTSCRIPT_NAME $DPKG_MAINTSCRIPT_PACKAGE'
        b' $DPKG_MAINTSCRIPT_ARCH $DPKG_ROOT" > /etc/toy.preinst\n'
    )
    postinst = (
        b'#!/bin/sh\nset -e\ncase $1 in\nconfigure) echo done > "/etc/toy done"; rm /usr/bin/toy;'
        b" rm /etc/private/key; rm -r /usr/share/toy /usr/share/moved;"
        b" ln -s /usr/share/kept /usr/share/moved ;;\n"
        b"triggered) echo $2 > /etc/toy.triggered ;;\nesac\n"
    )
    toy = deb(
        tmp_path,
        "toy",
        {
            "./etc/": b"",
            "./etc/private/": (tarfile.DIRTYPE, "0700"),
            **files("./etc/private/key", "./etc/toy.conf", "./usr/bin/toy", "./usr/share/toy/a/b"),
            **files("./usr/share/moved/x", "./usr/share/kept/x"),
        },
        {
            "preinst": preinst,
            "postinst": postinst,
            "conffiles": b"/etc/toy.conf\n",
            "triggers": b"interest toys\n",
        },
        Multi_Arch="same",
    )
    ring = deb(
        tmp_path,
        "ring",
        files("./usr/share/ring"),
        {"triggers": b"activate toys\n"},
        Depends="toy",
    )
    changes = configure(toy, ring)
    # Not what was in a directory that is gone, or that is no longer one.
    assert changes.removed == ("etc/private/key", "usr/bin/toy", "usr/share/toy")
    with tarfile.open(changes.archive) as tar:
        members = {info.name: info for info in tar}
        toys = {n: tar.extractfile(n).read() for n in members if "toy" in n}  # type: ignore[union-attr]
        status = tar.extractfile("var/lib/dpkg/status").read().decode()  # type: ignore[union-attr]
    assert toys == {
        "etc/toy.preinst": b"install preinst toy amd64 \n",
        "etc/toy done": b"done\n",
        "etc/toy.triggered": b"toys\n",
        "var/lib/dpkg/triggers/toys": b"toy:amd64\n",
    }
    # What nothing has touched is in the layers below, and only there.
    assert not {"usr/share/kept", "etc/toy.conf", "usr/bin/bash"} & set(members)
    assert {"usr/share", "usr/bin", "etc"} <= set(members)
    assert members["usr/share/moved"].linkname == "/usr/share/kept"
    assert members["etc/private"].mode == 0o700
    assert members["etc/shadow"].mode == 0o640
    paragraphs = {part.split("\n")[0]: part for part in status.split("\n\n") if part}
    assert all("\nStatus: install ok installed\n" in text for text in paragraphs.values())
    # The conffile is known by its md5, so that an upgrade can see whether it was edited.
    assert "\n /etc/toy.conf b026324c6904b2a9cb4b88d6d61c81d1\n" in paragraphs["Package: toy"]


@pytest.fixture
def published(
    runtime: Runtime, store: Store, tmp_path: Path
) -> Callable[[str], list[tuple[Artifact, Path]]]:
    """Return what fetches a package of Debian, and what it needs beyond the runtime's system."""

    def fetched(name: str) -> list[tuple[Artifact, Path]]:
        release = tmp_path / "release"
        release.mkdir()
        closure = Archive(host_sources(), runtime.lock.component("debian"), release).closure([name])
        there = {artifact.name for artifact in runtime.lock.os}
        more = [artifact for artifact in closure if artifact.name not in there]
        found = fetcher(store).fetch_all(more)
        return [(artifact, found[artifact.sha256]) for artifact in more]

    return fetched


@pytest.mark.extra
@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("openssh-server", "/etc/ssh/ssh_host_ed25519_key"),
        ("ssl-cert", "/etc/ssl/private/ssl-cert-snakeoil.key"),
    ],
)
def test_debian_s_packages_that_make_secrets_are_refused(
    configure: Configure,
    published: Callable[[str], list[tuple[Artifact, Path]]],
    name: str,
    secret: str,
) -> None:
    with pytest.raises(InvalidDefinition, match=f"{name}: configuring it makes secrets") as caught:
        configure(*published(name))
    assert secret in caught.value.what


@pytest.mark.extra
def test_a_package_with_a_machine_id_gives_the_same_bytes_twice(
    configure: Configure, published: Callable[[str], list[tuple[Artifact, Path]]]
) -> None:
    digests, packages = set(), published("dbus")
    assert "dbus" in {artifact.name for artifact, _ in packages}
    for _ in range(2):
        changes = configure(*packages)
        writer = LayerWriter(io.BytesIO())
        debian.add_changes(writer, changes.archive, changes.removed)
        digests.add(writer.finish().digest)
        assert "var/lib/dbus/machine-id" not in writer
        assert "etc/machine-id" not in writer
    assert len(digests) == 1


def test_the_system_is_what_dpkg_would_have_made(runtime: Runtime, engine: Engine) -> None:
    """Every file that a package brings is there with its md5, and dpkg finds nothing amiss."""
    result = engine.run(
        runtime.image,
        ["sh", "-c", "dpkg --audit; dpkg --verify --verify-format rpm | grep -v /usr/share/; "
         "dpkg-query --show --showformat '${db:Status-Status}\\n' | sort | uniq -c"],
        user="0",
        timeout=300,
    )  # fmt: skip
    counted = " ".join(result.tail.split())
    assert counted == f"{len(runtime.lock.os)} installed", result.tail
