"""`docker build` of the Dockerfile that is equivalent to an image, from the same files."""

import functools
import http.server
import os
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlruntime.ecosystems.debian.flat import write_repository
from mlruntime.ecosystems.native import build as native
from mlruntime.engine import connect
from mlruntime.image.dockerfile import dockerfile
from mlruntime.image.plan import Plan
from mlruntime.image.sources.jars import Jars
from mlruntime.image.sources.literal import LiteralFiles
from mlruntime.image.sources.python import PythonPackages
from mlruntime.layers.writer import LayerWriter
from mlruntime.lock.model import Lock
from mlruntime.store.store import Store

from tests.benchmarks.bare_debian import give_base
from tests.benchmarks.pushing import seconds
from tests.benchmarks.settled import settle

ROOT = Path(__file__).parents[2]
BASE = "mlruntime/bench-base:latest"


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback: the mirror that the Dockerfile installs from."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """Seconds that `docker build` and what follows took, and the layers' sizes compressed."""

    built: float
    pushed: float
    gzipped: float
    recompressed: float
    sizes: list[int]


def docker_build(
    warm: Store, plan: Plan, lock: Lock, work: Path, target: str, push: bool = True
) -> Theirs:
    """Build the Dockerfile from a mirror of the store on loopback, push it, compress its layers."""
    mirror, context = work / "mirror", work / "context"
    wheels = _mirrored(warm, plan, lock, mirror)
    _laid_out(plan, lock, warm, context, wheels)
    engine = connect()
    give_base(engine, warm, plan, lock, BASE)
    try:
        with _served(mirror) as address:
            settle()
            started = time.perf_counter()
            subprocess.run(
                ["docker", "build", "--quiet", "--no-cache", "--network", "host",
                 "--build-arg", f"BASE={BASE}", "--build-arg", f"PACKAGES={address}",
                 "--tag", target, str(context)],
                env=os.environ | {"DOCKER_BUILDKIT": "0"}, check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            built = time.perf_counter() - started
        pushed = seconds("docker", "push", "--quiet", target) if push else 0.0
        saved = work / "saved"
        saved.mkdir()
        subprocess.run(f"docker save {target} | tar -x -C {saved}", shell=True, check=True)
        layers = sorted(saved.rglob("layer.tar")) or sorted(saved.rglob("*.tar"))
        gzipped, sizes = _packed(layers, _gzipped_size)
        recompressed, _ = _packed(layers, _isal) if push else (0.0, [])
    finally:
        engine.remove_image(target)
        engine.remove_image(BASE)
        engine.close()
    return Theirs(
        built=built, pushed=pushed, gzipped=gzipped, recompressed=recompressed, sizes=sizes
    )


def _packed(layers: list[Path], pack: Callable[[Path], int]) -> tuple[float, list[int]]:
    started = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sizes = list(pool.map(pack, layers))
    return time.perf_counter() - started, sizes


def _gzipped_size(path: Path) -> int:
    """Compress as an engine's push does: gzip, level 6, one stream per layer."""
    packer, size = zlib.compressobj(6, wbits=31), 0
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            size += len(packer.compress(chunk))
    return size + len(packer.flush())


def _isal(path: Path) -> int:
    writer = LayerWriter(open(os.devnull, "wb"))  # noqa: PTH123, SIM115
    with path.open("rb") as handle:
        writer.file("layer.tar", handle, path.stat().st_size)
    return writer.finish().size


def _mirrored(warm: Store, plan: Plan, lock: Lock, mirror: Path) -> list[str]:
    """Lay out debs and wheels; return the names of the natively built wheels."""
    (mirror / "debs").mkdir(parents=True)
    (mirror / "wheels").mkdir()
    write_repository(mirror / "debs", [(a, _blob(warm, a.sha256)) for a in lock.os])
    for layer in plan.layers:
        content = layer.content
        for artifact in content.wheels if isinstance(content, PythonPackages) else ():
            os.link(_blob(warm, artifact.sha256), mirror / "wheels" / artifact.filename)
    names = []
    for recipe in lock.variant(plan.variant).native:
        wheel = native.built(warm, recipe)
        assert wheel is not None
        os.link(wheel.path, mirror / "wheels" / wheel.filename)
        names.append(wheel.filename)
    return names


def _blob(store: Store, sha256: str) -> Path:
    path = store.blob(sha256)
    assert path is not None, sha256
    return path


def _laid_out(plan: Plan, lock: Lock, warm: Store, context: Path, wheels: list[str]) -> None:
    template = (ROOT / "images" / "Dockerfile.j2").read_text(encoding="utf-8")
    for name in ("jars", "library", "rootfs"):
        (context / name).mkdir(parents=True)
    for layer in plan.layers:
        content = layer.content
        for target, jar in content.jars if isinstance(content, Jars) else ():
            os.link(_blob(warm, jar.sha256), context / "jars" / Path(target).name)
        for file in content.files if isinstance(content, LiteralFiles) else ():
            folder = "library" if layer.name == "sparkdl" else "rootfs"
            if layer.name in ("settings", "sparkdl", "contract", "constraints"):
                path = file.path.partition("site-packages/")[2] or file.path
                (context / folder / path).parent.mkdir(parents=True, exist_ok=True)
                (context / folder / path).write_bytes(file.content)
                (context / folder / path).chmod(0o755 if file.executable else 0o644)
    text = dockerfile(plan, lock, template, wheels)
    (context / "Dockerfile").write_text(text, encoding="utf-8")
