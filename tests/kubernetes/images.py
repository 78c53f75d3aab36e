"""Archives of OCI layouts, as containerd imports them."""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_NAME: Final = "io.containerd.image.name"
_SOURCE: Final = Path(__file__).with_name("pause.c")
_OCI: Final = "application/vnd.oci.image"


def digest(layout: Path) -> str:
    """Return the digest of the only image of a layout."""
    (manifest,) = _index(layout)["manifests"]
    return str(manifest["digest"])


def archive(layout: Path, name: str) -> Iterator[bytes]:
    """Yield a layout as an archive in which its only image is called ``name``."""
    index = _index(layout)
    (manifest,) = index["manifests"]
    manifest["annotations"] = {_NAME: name}
    for file in sorted(path for path in layout.rglob("*") if path.is_file()):
        where = file.relative_to(layout).as_posix()
        if where == "index.json":
            yield from _member(where, json.dumps(index).encode())
        else:
            yield from _file(where, file)
    yield bytes(1024)


def _index(layout: Path) -> Any:
    return json.loads((layout / "index.json").read_bytes())


def _head(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield _head(name, len(content)) + content + bytes(-len(content) % 512)


def _file(name: str, path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    yield _head(name, size)
    with path.open("rb") as content:
        while piece := content.read(1 << 20):
            yield piece
    yield bytes(-size % 512)


def pause(work: Path, name: str) -> Iterator[bytes]:
    """Yield an image whose only program holds a pod's namespaces."""
    program = work / "pause"
    subprocess.run(["gcc", "-static", "-Os", "-s", "-o", program, _SOURCE], check=True)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        info = tarfile.TarInfo("pause")
        info.size, info.mode = program.stat().st_size, 0o755
        tar.addfile(info, io.BytesIO(program.read_bytes()))
    layer = packed.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [_sha256(layer)]},
    }
    blobs = [json.dumps(config).encode(), layer]
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": _descriptor("config.v1+json", blobs[0]),
        "layers": [_descriptor("layer.v1.tar", layer)],
    }
    blobs.append(json.dumps(manifest).encode())
    described = _descriptor("manifest.v1+json", blobs[-1]) | {"annotations": {_NAME: name}}
    yield from _member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    yield from _member(
        "index.json", json.dumps({"schemaVersion": 2, "manifests": [described]}).encode()
    )
    for blob in blobs:
        yield from _member(f"blobs/sha256/{_sha256(blob).removeprefix('sha256:')}", blob)
    yield bytes(1024)


def _sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": f"{_OCI}.{kind}", "digest": _sha256(content), "size": len(content)}
