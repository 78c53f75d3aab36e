"""What a build needs of its surroundings, and the intermediate images that it runs things in."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mlruntime.engine import Engine, Running, owner
from mlruntime.errors import Unavailable
from mlruntime.image import oci
from mlruntime.image.config import ImageConfig
from mlruntime.image.image import Image, ImageLayer, load
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store

_STAGE: Final = "mlruntime/stage"
_SHOWN_SECONDS: Final = 3.0
# Intermediate images are thrown away; a constant time of creation lets builds share them.
_CREATED: Final = "1980-01-01T00:00:00Z"


@dataclass(slots=True)
class BuildContext:
    """Everything a build needs of its surroundings.

    ``fetch`` brings artifacts and returns their files by sha256; ``engine`` is only called when
    something has to run; ``say`` gets lines about progress, ``record`` every line that is written
    by what runs.
    """

    store: Store
    fetch: Callable[[Iterable[Artifact]], Mapping[str, Path]]
    engine: Callable[[], Engine]
    say: Callable[[str], None]
    images: Mapping[str, bytes]
    clock: Callable[[], float] = time.monotonic
    threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    stages: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    loading: threading.Lock = field(default_factory=threading.Lock)
    record: Callable[[str], None] = lambda _: None
    running: Running = field(init=False)

    def __post_init__(self) -> None:
        """Make what runs containers; the engine is not asked for."""
        self.running = Running(self.engine)

    def stage(self, layers: tuple[ImageLayer, ...], config: ImageConfig) -> str:
        """Load layers as an image of their own, for something to run in; return its reference."""
        pairs = [(layer.name, layer.blob) for layer in layers]
        document = oci.config(config, pairs, created=_CREATED)
        name = document.digest.partition(":")[2][:16]
        reference = f"{_STAGE}:{name}-{owner.current().host}-{os.getpid()}"
        manifest = oci.manifest(document, [blob for _, blob in pairs], {})
        image = Image(reference=reference, layers=layers, config=document, manifest=manifest)
        with self.loading:
            if not self.stages:
                for left in self.engine().sweep():
                    self.say(f"removed {left.kind} {left.name}, left by a run that was killed")
            load(image, self.store, self.engine())
            self.stages.append(reference)
        return reference

    def clear(self) -> None:
        """Remove the intermediate images, once the finished one has been loaded upon them.

        Those that a killed build left go too. An engine that fails here is left alone: what the
        build itself ended with matters more, and the next one clears up.
        """
        if not self.stages:
            return
        host, proc = owner.current().host, Path("/proc")
        with suppress(Unavailable):
            for reference in self.engine().tags(_STAGE):
                _, _, made_by = reference.partition("-")
                pid = made_by.removeprefix(f"{host}-")
                gone = pid.isdecimal() and not (proc / pid).exists()
                if reference in self.stages or gone:
                    self.engine().remove_image(reference)
        self.stages.clear()

    def abort(self) -> None:
        """Make what runs in other threads end: layers, host tools, containers."""
        self.stop.set()
        self.running.abort()

    def now_and_then(self, prefix: str) -> Callable[[str], None]:
        """Return what passes on a line every few seconds: enough to see that something moves."""
        last = self.clock()

        def say(line: str) -> None:
            nonlocal last
            self.record(line)
            now = self.clock()
            if now - last >= _SHOWN_SECONDS and line.strip():
                last = now
                self.say(prefix + line.strip()[:120])

        return say
