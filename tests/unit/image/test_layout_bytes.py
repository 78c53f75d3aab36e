"""OCI layouts of others, whatever their documents say: an image, or a sentence about them."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from mlruntime.errors import HashMismatch, InvalidDefinition
from mlruntime.image.layout import read_labels, read_layout

from tests.unit.damaged import damaged, other_values

LAYER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"Labels": {"io.mlruntime.runtime": "toy"}},
    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(b'').hexdigest()}"]},
    "history": [{"created_by": "toy"}],
}


def _descriptor(content: bytes, kind: str) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": kind, "digest": digest, "size": len(content)}


def manifest(config: bytes) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [_descriptor(LAYER, "application/vnd.oci.image.layer.v1.tar+gzip")],
    }


def index(content: bytes) -> dict[str, Any]:
    return {"schemaVersion": 2, "manifests": [_descriptor(content, MANIFEST)]}


def read(index_: bytes, *blobs: bytes) -> None:
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "blobs/sha256"
        folder.mkdir(parents=True)
        for blob in (LAYER, *blobs):
            (folder / hashlib.sha256(blob).hexdigest()).write_bytes(blob)
        (Path(work) / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (Path(work) / "index.json").write_bytes(index_)
        for reader in (read_layout, read_labels):
            try:
                reader(Path(work))
            except (InvalidDefinition, HashMismatch) as error:
                assert error.what


WHOLE = json.dumps(CONFIG).encode()
TOP = json.dumps(manifest(WHOLE)).encode()


def test_a_whole_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "blobs/sha256").mkdir(parents=True)
    for blob in (LAYER, WHOLE, TOP):
        (tmp_path / "blobs/sha256" / hashlib.sha256(blob).hexdigest()).write_bytes(blob)
    (tmp_path / "index.json").write_bytes(json.dumps(index(TOP)).encode())
    assert read_labels(tmp_path) == {"io.mlruntime.runtime": "toy"}
    assert len(read_layout(tmp_path).layers) == 1


@given(other_values(index(TOP)) | damaged(json.dumps(index(TOP)).encode()))
def test_an_index_is_read_or_told(content: bytes) -> None:
    read(content, WHOLE, TOP)


@given(other_values(manifest(WHOLE)) | damaged(TOP))
def test_a_manifest_is_read_or_told(content: bytes) -> None:
    read(json.dumps(index(content)).encode(), WHOLE, content)


@given(other_values(CONFIG) | damaged(WHOLE))
def test_a_configuration_is_read_or_told(content: bytes) -> None:
    top = json.dumps(manifest(content)).encode()
    read(json.dumps(index(top)).encode(), content, top)
