"""Composing the image beside `docker build` of the equivalent Dockerfile, from the same files."""

import functools
import http.server
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from builder import native
from builder.bootstrap import CONFIG
from builder.build import TOOLS, build
from builder.cli.build import fresh_lock, planned_image
from builder.cli.stores import fetcher, store_root
from builder.definitions import Definitions
from builder.dockerfile import dockerfile
from builder.engine import Engine
from builder.image import load
from builder.layering.debian import closure, control, essential, write_repository
from builder.layering.tarball import LayerWriter
from builder.lock import Lock, set_digest
from builder.plan import Plan, PlannedLayer, layer_key
from builder.store import Store
from builder.workshop import Workshop
from tests.benchmarks.figures import Figures
from tests.benchmarks.pushing import push_layout, registry, seconds
from tests.conftest import RUNTIME, cold_store, copied

ROOT = Path(__file__).parents[2]
BASE = "mlruntime/bench-base:latest"
# A small dependency in the layer of all small dependencies, and an older version of it.
BUMP = "termcolor==2.5.0"


def measure() -> Figures:
    """Compose from nothing, again, with one pin changed, push; then build the Dockerfile, push."""
    warm = Store(store_root())
    _cli(warm.root, ROOT, "build", RUNTIME)
    definitions = Definitions(ROOT)
    lock = fresh_lock(definitions, RUNTIME)
    plan = planned_image(definitions, lock, "cpu")
    with tempfile.TemporaryDirectory(dir=warm.root, prefix="bench-") as folder:
        work = Path(folder)
        cold = cold_store(warm, plan, lock, work / "store")
        composed, result, memory = _timed_build(cold.root, ROOT, work / "layout")
        again, _, _ = _timed_build(cold.root, ROOT, work / "layout")
        bumped_root = _bumped(cold.root, work / "root")
        bumped, bumped_result, _ = _timed_build(cold.root, bumped_root, work / "bumped")
        rebuilt = [layer["name"] for layer in bumped_result["layers"] if not layer["cached"]]
        with registry(work) as address:
            sent = push_layout(work / "layout", f"{address}/ours:1")
            theirs = _docker(warm, plan, lock, work, f"{address}/theirs:1")
    gzip = theirs.built + theirs.gzipped
    rows = [("what", "seconds", "ratio")]
    rows += [
        (what, f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}", _ratio(seconds, composed))
        for what, seconds in (
            ("compose, layers compressed and in an OCI layout", composed),
            ("`docker build`, artifacts on a local mirror", theirs.built),
            ("gzip of its layers, level 6, side by side", theirs.gzipped),
            ("**`docker build` and gzip**", gzip),
            ("the same with our compressor instead of gzip", theirs.built + theirs.recompressed),
            ("the same build again", again),
            (f"one dependency changed (written: {', '.join(rebuilt)})", bumped),
        )
    ]
    pushed = composed + sent
    rows += [
        ("from artifacts to a registry:", "", ""),
        ("compose, and `skopeo copy` of the layout", f"{pushed:.1f}", _ratio(pushed, composed)),
        (
            "`docker build`, and `docker push`",
            f"{theirs.built + theirs.pushed:.1f}",
            f"{_ratio(theirs.built + theirs.pushed, composed)} ="
            f" {_ratio(theirs.built + theirs.pushed, pushed)} of the line above",
        ),
    ]
    return Figures(
        name="compose",
        note=f"{RUNTIME}, cpu. Artifacts and native wheels in the store, no layer and no bytecode."
        f" Peak memory of the builder: {memory} MiB.\n\n" + _sizes(result, theirs.sizes),
        rows=tuple(rows),
    )


def _ratio(seconds: float, unit: float) -> str:
    return f"{seconds / unit:.2f}"


def _cli(store: Path, root: Path, *words: str) -> str:
    command = [sys.executable, "-m", "builder", "--root", str(root), *words]
    environment = os.environ | {"MLRUNTIME_STORE": str(store)}
    return subprocess.run(command, env=environment, check=True, text=True, stdout=-1).stdout


def _timed_build(store: Path, root: Path, output: Path) -> tuple[float, dict, int]:  # type: ignore[type-arg]
    started = time.perf_counter()
    printed = _cli(store, root, "build", RUNTIME, "--output", str(output), "--json")
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return seconds, json.loads(printed), peak


def _bumped(store: Path, root: Path) -> Path:
    """Return definitions that ask for another version of one package, locked."""
    copied(root)
    path = root / "runtimes" / RUNTIME / "lock.json"
    runtime = path.with_name("runtime.yaml")
    text = runtime.read_text(encoding="utf-8")
    runtime.write_text(text.replace("\npython:\n", f"\npython:\n  - {BUMP}\n"), encoding="utf-8")
    omit = [w for o in json.loads(path.read_text())["omitted"] for w in
            ("--omit-unavailable", o["component"])]  # fmt: skip
    _cli(store, root, "lock", RUNTIME, *omit)
    return root


# docker build


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


def _docker(warm: Store, plan: Plan, lock: Lock, work: Path, target: str) -> Theirs:
    mirror, context = work / "mirror", work / "context"
    wheels = _mirror(warm, plan, lock, mirror)
    _context(plan, lock, warm, context, wheels)
    engine = Engine.connect()
    _base(engine, warm, plan, lock)
    try:
        with _served(mirror) as address:
            started = time.perf_counter()
            subprocess.run(
                ["docker", "build", "--quiet", "--no-cache", "--network", "host",
                 "--build-arg", f"BASE={BASE}", "--build-arg", f"PACKAGES={address}",
                 "--tag", target, str(context)],
                env=os.environ | {"DOCKER_BUILDKIT": "0"}, check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            built = time.perf_counter() - started
        pushed = seconds("docker", "push", "--quiet", target)
        saved = work / "saved"
        saved.mkdir()
        subprocess.run(f"docker save {target} | tar -x -C {saved}", shell=True, check=True)
        layers = sorted(saved.rglob("layer.tar")) or sorted(saved.rglob("*.tar"))
        gzipped, sizes = _packed(layers, _gzip)
        recompressed, _ = _packed(layers, _isal)
    finally:
        engine.remove_image(target)
        engine.remove_image(BASE)
        engine.close()
    return Theirs(
        built=built, pushed=pushed, gzipped=gzipped, recompressed=recompressed, sizes=sizes
    )


def _packed(layers: list[Path], pack: object) -> tuple[float, list[int]]:
    started = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sizes = list(pool.map(pack, layers))  # type: ignore[arg-type]
    return time.perf_counter() - started, sizes


def _gzip(path: Path) -> int:
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


def _mirror(warm: Store, plan: Plan, lock: Lock, mirror: Path) -> list[str]:
    """Lay out debs and wheels; return the names of the natively built wheels."""
    (mirror / "debs").mkdir(parents=True)
    (mirror / "wheels").mkdir()
    write_repository(mirror / "debs", [(a, _blob(warm, a.sha256)) for a in lock.os])
    for layer in plan.layers:
        for artifact in layer.wheels:
            os.link(_blob(warm, artifact.sha256), mirror / "wheels" / artifact.filename)
    names = []
    for recipe in lock.variant("cpu").native:
        wheel = native.built(warm, recipe)
        assert wheel is not None
        os.link(wheel.path, mirror / "wheels" / wheel.filename)
        names.append(wheel.filename)
    return names


def _blob(store: Store, sha256: str) -> Path:
    path = store.blob(sha256)
    assert path is not None, sha256
    return path


def _context(plan: Plan, lock: Lock, warm: Store, context: Path, wheels: list[str]) -> None:
    template = (ROOT / "images" / "Dockerfile.j2").read_text(encoding="utf-8")
    for name in ("jars", "library", "rootfs"):
        (context / name).mkdir(parents=True)
    for layer in plan.layers:
        for target, jar in layer.jars:
            os.link(_blob(warm, jar.sha256), context / "jars" / Path(target).name)
        for file in layer.files:
            folder = "rootfs" if layer.name == "settings" else "library"
            if layer.name in ("settings", "sparkdl"):
                path = file.path.partition("site-packages/")[2] or file.path
                (context / folder / path).parent.mkdir(parents=True, exist_ok=True)
                (context / folder / path).write_bytes(file.content)
    text = dockerfile(plan, lock, template, wheels)
    (context / "Dockerfile").write_text(text, encoding="utf-8")


def _base(engine: Engine, warm: Store, plan: Plan, lock: Lock) -> None:
    """Give the engine a bare Debian with apt, as a Dockerfile's FROM would find it; not timed."""
    controls = {a.name: control(a, _blob(warm, a.sha256)) for a in lock.os}
    names = essential(controls) | closure(controls, ["apt"])
    packages = tuple(a for a in lock.os if a.name in names)
    key = layer_key("debian", [TOOLS.bootstrap, set_digest(packages)])
    system = PlannedLayer(name="base", source="debian", key=key, packages=packages)
    shop = Workshop(
        store=warm,
        fetch=fetcher(warm).fetch_all,
        engine=lambda: engine,
        say=lambda _: None,
        images={},
    )
    try:
        image = build(
            replace(plan, layers=(system,), config=CONFIG),
            replace(lock, os=packages),
            shop,
            reference=BASE,
            created="1980-01-01T00:00:00Z",
        )
        load(image, warm, engine)
    finally:
        shop.clear()


def _sizes(result: dict, theirs: list[int]) -> str:  # type: ignore[type-arg]
    lines = ["| layer | compressed MB | on disk MB |", "|---|---|---|"]
    for layer in result["layers"]:
        lines.append(
            f"| {layer['name']} | {layer['size'] / 1e6:.1f} | {layer['unpacked'] / 1e6:.1f} |"
        )
    unpacked = sum(layer["unpacked"] for layer in result["layers"])
    lines.append(f"| **all** | **{result['size'] / 1e6:.1f}** | **{unpacked / 1e6:.1f}** |")
    lines.append(f"| the Dockerfile's image, gzip 6 | {sum(theirs) / 1e6:.1f} | |")
    return "\n".join(lines)
