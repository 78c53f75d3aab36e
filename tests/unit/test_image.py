"""Sending an image to an engine: only what is missing, and nothing that is damaged."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import pytest
from mlruntime.engine import Engine, chain_ids
from mlruntime.errors import CommandFailed, HashMismatch, StorageError, Unavailable, UsageError
from mlruntime.image import oci
from mlruntime.image.config import ImageConfig
from mlruntime.image.image import Image, ImageLayer, load, write_layout
from mlruntime.image.layout import read_layout
from mlruntime.layers.writer import LayerWriter
from mlruntime.store.store import Store


class Remembering:
    """Stands in for an engine, and remembers what it was sent."""

    def __init__(self, chains: Iterable[str] = ()) -> None:
        self.chains = frozenset(chains)
        self.sent: bytes | None = None

    def image_id(self, _: str) -> None:
        return None

    def chain_ids(self) -> frozenset[str]:
        return self.chains

    def load(self, chunks: Iterable[bytes]) -> None:
        self.sent = b"".join(chunks)

    @property
    def files(self) -> set[str]:
        assert self.sent is not None
        with tarfile.open(fileobj=io.BytesIO(self.sent)) as tar:
            return set(tar.getnames())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def image(store: Store, *contents: bytes) -> Image:
    layers = []
    for number, content in enumerate(contents):
        with store.scratch() as scratch:
            path = scratch / "layer"
            with path.open("wb") as target:
                writer = LayerWriter(target)
                writer.data(f"file{number}", content)
                blob = writer.finish()
            store.adopt_blob(path, blob.digest[7:])
        layers.append(ImageLayer(name=f"l{number}", blob=blob, cached=False, seconds=0.0))
    settings = ImageConfig(
        user="1", workdir="/", entrypoint=(), command=(), environment=(), labels=()
    )
    pairs = [(layer.name, layer.blob) for layer in layers]
    config = oci.config(settings, pairs, created="1980-01-01T00:00:00Z")
    manifest = oci.manifest(config, [blob for _, blob in pairs], {})
    return Image(reference="toy:1", layers=tuple(layers), config=config, manifest=manifest)


def send(made: Image, store: Store, engine: Remembering) -> int:
    return load(made, store, cast(Engine, engine))


def layer_files(engine: Remembering) -> set[str]:
    return {name for name in engine.files if name.endswith(".tar.gz")}


def test_layers_that_the_engine_can_build_upon_are_not_sent(store: Store) -> None:
    made = image(store, b"one", b"two", b"three")
    chains = chain_ids([layer.blob.diff_id for layer in made.layers])
    engine = Remembering(chains[:2])
    assert send(made, store, engine) == made.layers[2].blob.size
    assert layer_files(engine) == {oci.archive_layer(made.layers[2].blob.diff_id)}


def test_a_layer_known_only_above_another_one_is_sent(store: Store) -> None:
    made, other = image(store, b"one", b"two"), image(store, b"two")
    engine = Remembering(chain_ids([other.layers[0].blob.diff_id]))
    send(made, store, engine)
    assert len(layer_files(engine)) == 2


def test_a_damaged_blob_is_found_before_anything_is_sent_and_forgotten(store: Store) -> None:
    made = image(store, b"one", b"two")
    digest = made.layers[1].blob.digest[7:]
    path = store.blob(digest)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    engine = Remembering()
    with pytest.raises(HashMismatch, match="layer 'l1' is damaged"):
        send(made, store, engine)
    assert engine.sent is None
    assert store.blob(digest) is None


def test_a_lost_blob_is_told(store: Store) -> None:
    made = image(store, b"one")
    store.discard(made.layers[0].blob.digest[7:])
    with pytest.raises(Unavailable, match="is missing"):
        send(made, store, Remembering())


class Forgetful(Remembering):
    """Another build removes the image, and the layers below it, as soon as we know of them."""

    def __init__(self, chains: Iterable[str], failure: Exception) -> None:
        super().__init__(chains)
        self.failure: Exception | None = failure

    def image_id(self, reference: str) -> str:  # type: ignore[override]
        return reference

    def tag(self, image: str, reference: str) -> None:
        raise CommandFailed(f"no such image: {image}")

    def load(self, chunks: Iterable[bytes]) -> None:
        failure, self.failure = self.failure, None
        if failure:
            raise failure
        super().load(chunks)


def test_what_another_build_removes_meanwhile_is_sent_after_all(store: Store) -> None:
    made = image(store, b"one", b"two")
    engine = Forgetful(
        chain_ids([layer.blob.diff_id for layer in made.layers])[:1], CommandFailed("no parent")
    )
    assert send(made, store, engine) == sum(layer.blob.size for layer in made.layers)
    assert len(layer_files(engine)) == 2


def test_a_full_engine_is_not_sent_everything_once_more(store: Store) -> None:
    made = image(store, b"one", b"two")
    chains = chain_ids([layer.blob.diff_id for layer in made.layers])[:1]
    with pytest.raises(StorageError):
        send(made, store, Forgetful(chains, StorageError("full")))


def test_only_a_layout_or_an_empty_directory_is_replaced(store: Store, tmp_path: Path) -> None:
    made, home = image(store, b"one"), tmp_path / "home"
    home.mkdir()
    write_layout(made, store, home)
    for folder in (tmp_path, store.root):
        with pytest.raises(UsageError, match="not an OCI layout"):
            write_layout(made, store, folder)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="not an OCI layout"):
        write_layout(made, store, tmp_path / "file")
    with pytest.raises(StorageError, match="cannot write here"):
        write_layout(made, store, tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_layout_reads_back_as_the_same_image(store: Store, tmp_path: Path) -> None:
    made = image(store, b"one", b"two")
    write_layout(made, store, tmp_path / "layout")
    write_layout(made, store, tmp_path / "layout")  # replaces what is there
    found = read_layout(tmp_path / "layout")
    assert found.manifest == made.manifest
    assert found.config == made.config
    assert [layer.blob.digest for layer in found.layers] == [
        layer.blob.digest for layer in made.layers
    ]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("victim", ["config", "manifest", "layer"])
def test_a_layout_with_one_changed_byte_is_refused(
    victim: str, store: Store, tmp_path: Path
) -> None:
    made = image(store, b"one")
    folder = tmp_path / "layout"
    write_layout(made, store, folder)
    digests = {
        "config": made.config.digest,
        "manifest": made.manifest.digest,
        "layer": made.layers[0].blob.digest,
    }
    path = folder / oci.blob_path(digests[victim])
    content = path.read_bytes()
    path.unlink()  # it is a hard link into the store
    path.write_bytes(content.replace(b"1", b"2", 1) if b"1" in content else content + b"x")
    with pytest.raises(HashMismatch, match="is damaged"):
        read_layout(folder)
