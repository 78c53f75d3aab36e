"""Sending an image to an engine: only what is missing, and nothing that is damaged."""

import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlruntime.documents.oci import CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, Document
from mlruntime.engine import ImageInfo, ImageStore, chain_ids
from mlruntime.errors import (
    CommandFailed,
    HashMismatch,
    InvalidDefinition,
    StorageError,
    Unavailable,
    UsageError,
)
from mlruntime.image import oci
from mlruntime.image.config import ImageConfig
from mlruntime.image.image import Image, ImageLayer, Loaded, load
from mlruntime.image.layout import entries, name_of, read_layout
from mlruntime.image.layout_writing import write_layout
from mlruntime.layers.writer import LayerWriter
from mlruntime.store.store import Store


class Remembering:
    """Stands in for an engine, and remembers what it was sent."""

    def __init__(self, chains: Iterable[str] = ()) -> None:
        self.chains = frozenset(chains)
        self.sent: bytes | None = None
        self.expected: Image | None = None

    store: ImageStore = "classic"

    def image(self, reference: str) -> ImageInfo | None:
        """Know an image only once it was loaded, and then by its name."""
        if self.sent is None or reference != "toy:1":
            return None
        return info(self.loaded)

    @property
    def loaded(self) -> Image:
        assert self.expected is not None
        return self.expected

    def chain_ids(self) -> frozenset[str]:
        return self.chains

    def load(self, chunks: Iterable[bytes]) -> None:
        self.sent = b"".join(chunks)

    def tag(self, image: str, reference: str) -> None: ...

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


def info(made: Image, ident: str | None = None) -> ImageInfo:
    """Return what an engine says of an image that it has."""
    return ImageInfo(
        id=ident or made.config.digest,
        tags=(made.reference,),
        labels={},
        size=1,
        user="",
        environment=(),
        diff_ids=tuple(layer.blob.diff_id for layer in made.layers),
    )


def send(made: Image, store: Store, engine: Remembering) -> int:
    engine.expected = made
    return load(made, store, engine).sent


def layer_files(engine: Remembering) -> set[str]:
    return {name for name in engine.files if name.endswith(".tar.gz")}


def test_layers_that_the_engine_can_build_upon_are_not_sent(store: Store) -> None:
    made = image(store, b"one", b"two", b"three")
    chains = chain_ids([layer.blob.diff_id for layer in made.layers])
    engine = Remembering(chains[:2])
    assert send(made, store, engine) == made.layers[2].blob.size
    assert layer_files(engine) == {oci.archive_layer(made.layers[2].blob.diff_id)}


class Containerd(Remembering):
    """An engine with containerd's image store: it knows an image by its manifest's digest."""

    store: ImageStore = "containerd"

    def image(self, reference: str) -> ImageInfo | None:
        names = ("toy:1", self.loaded.manifest.digest)
        if self.sent is None or reference not in names:
            return None
        return info(self.loaded, self.loaded.manifest.digest)

    def tag(self, image: str, reference: str) -> None:
        assert (image, reference) == (self.loaded.manifest.digest, "toy:1")


def test_containerds_store_is_sent_a_layout_and_the_second_time_nothing(store: Store) -> None:
    made, engine = image(store, b"one", b"two"), Containerd()
    engine.expected = made
    first = load(made, store, engine)
    assert first.id == made.manifest.digest
    assert first.sent == sum(layer.blob.size for layer in made.layers)
    blobs = {oci.blob_path(layer.blob.digest) for layer in made.layers}
    documents = {oci.blob_path(d.digest) for d in (made.config, made.manifest)}
    assert engine.files == {"oci-layout", "index.json", *documents, *blobs}
    assert load(made, store, engine) == Loaded(id=made.manifest.digest, sent=0)


class Elsewhere(Remembering):
    """Something else takes the name at the same time."""

    def image(self, reference: str) -> ImageInfo | None:
        found = super().image(reference)
        return replace(found, diff_ids=("sha256:0",)) if found else None


def test_an_image_that_is_not_there_after_all_is_told(store: Store) -> None:
    with pytest.raises(CommandFailed, match="now has another image by that name"):
        send(image(store, b"one"), store, Elsewhere())


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

    def image(self, reference: str) -> ImageInfo | None:
        return info(self.loaded)

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
    write_layout(made, store, tmp_path / "layout")  # it is there already
    found = read_layout(tmp_path / "layout")
    assert found.manifest == made.manifest
    assert found.config == made.config
    assert [layer.blob.digest for layer in found.layers] == [
        layer.blob.digest for layer in made.layers
    ]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


OTHERS: dict[str, Any] = {
    "mediaType": MANIFEST_TYPE,
    "digest": "sha256:" + "ab" * 32,
    "size": 3,
    "annotations": {oci.REFERENCE: "theirs:1", "their.own": "note"},
}


def names(folder: Path) -> list[str | None]:
    return [name_of(entry) for entry in entries(folder)]


def test_images_of_others_stay_in_a_layout(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    first = image(store, b"one")
    write_layout(first, store, folder)
    index = json.loads((folder / "index.json").read_text())
    index["manifests"].append(OTHERS)
    (folder / "index.json").write_text(json.dumps(index))
    theirs = folder / oci.blob_path(OTHERS["digest"])
    theirs.write_bytes(b"not even JSON")
    second = image(store, b"one", b"two")
    write_layout(second, store, folder)
    assert names(folder) == ["theirs:1", "toy:1"]
    assert json.loads((folder / "index.json").read_text())["manifests"][0] == OTHERS
    assert theirs.read_bytes() == b"not even JSON"
    assert read_layout(folder, "toy:1").manifest == second.manifest
    with pytest.raises(InvalidDefinition, match="expected one image, found 2") as caught:
        read_layout(folder)
    assert caught.value.why == "the layout holds: theirs:1, toy:1"
    # What their image needs cannot be read, so nothing was removed.
    assert (folder / oci.blob_path(first.manifest.digest)).exists()


def test_what_only_a_replaced_image_needed_goes(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    first, second = image(store, b"one", b"gone"), image(store, b"one", b"new")
    other = replace(image(store, b"other", b"gone"), reference="other:1")
    for made in (first, other, second):
        write_layout(made, store, folder)
    left = {path.name for path in (folder / "blobs/sha256").iterdir()}
    needed = {
        digest.removeprefix("sha256:")
        for made in (second, other)
        for digest in (
            made.config.digest,
            made.manifest.digest,
            *(layer.blob.digest for layer in made.layers),
        )
    }
    assert left == needed
    for made in (second, other):
        assert read_layout(folder, made.reference).manifest == made.manifest


@pytest.mark.parametrize("at", range(1, 12))
def test_a_layout_is_always_what_it_was_or_what_it_is_to_be(
    at: int, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever step a crash comes at: blobs first, then the index in one step."""
    folder = tmp_path / "layout"
    before, after = image(store, b"one"), image(store, b"two", b"three")
    write_layout(before, store, folder)
    left, replaced = [at], Path.replace

    def crash(self: Path, target: Path) -> Path:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return replaced(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", crash)
        try:
            write_layout(after, store, folder)
        except KeyboardInterrupt:
            assert read_layout(folder).manifest in (before.manifest, after.manifest)
    write_layout(after, store, folder)
    assert read_layout(folder).manifest == after.manifest
    assert not list(folder.rglob(".mlruntime-*"))


def rewritten(folder: Path, made: Image, config: dict[str, Any], **entry: Any) -> None:
    """Give a layout's one image another configuration, as a tool that builds upon it does."""
    document = Document(content=json.dumps(config).encode(), media_type=CONFIG_TYPE)
    manifest = oci.manifest(document, [layer.blob for layer in made.layers], {})
    for one in (document, manifest):
        (folder / oci.blob_path(one.digest)).write_bytes(one.content)
    found = manifest.descriptor() | entry
    (folder / "index.json").write_text(json.dumps({"manifests": [found]}))


def test_a_derived_image_with_steps_that_made_no_layer_is_read(
    store: Store, tmp_path: Path
) -> None:
    folder, made = tmp_path / "layout", image(store, b"one", b"two")
    write_layout(made, store, folder)
    config = json.loads(made.config.content)
    config["history"] += [{"created_by": "ENV A=1", "empty_layer": True}]
    rewritten(folder, made, config)
    found = read_layout(folder)
    assert [layer.name for layer in found.layers] == ["l0", "l1"]
    assert found.reference == f"mlruntime/layout:{found.manifest.digest[7:19]}"
    del config["history"]
    rewritten(folder, made, config, annotations={oci.REFERENCE: "latest"})
    assert [layer.name for layer in read_layout(folder).layers] == ["layer 1", "layer 2"]
    assert read_layout(folder).reference.startswith("mlruntime/layout:")


def test_a_layout_that_is_none_is_told_as_what_it_is(store: Store, tmp_path: Path) -> None:
    folder, made = tmp_path / "layout", image(store, b"one")
    write_layout(made, store, folder)
    config = json.loads(made.config.content)
    (folder / "index.json").unlink()
    with pytest.raises(InvalidDefinition, match=r"this OCI layout has no index\.json"):
        read_layout(folder)
    for wrong in ("../../../etc/passwd", "sha256:../../x", "sha256:12", "md5:" + "0" * 64):
        rewritten(folder, made, config, digest=wrong)
        with pytest.raises(InvalidDefinition, match="is not a digest"):
            read_layout(folder)
    rewritten(folder, made, config, mediaType=INDEX_TYPE)
    with pytest.raises(InvalidDefinition, match="found an index of images for several platforms"):
        read_layout(folder)
    config["rootfs"]["diff_ids"] *= 2
    rewritten(folder, made, config)
    with pytest.raises(InvalidDefinition, match="disagree on the number of layers"):
        read_layout(folder)


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
