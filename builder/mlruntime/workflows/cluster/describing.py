"""From what a team writes down of a cluster to what is started: its image, its GPUs, its size."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.form import WORKER_MIB, ClusterForm
from mlruntime.cluster.gpus import NO_GPUS, Gpus
from mlruntime.cluster.rendering import (
    Rendered,
    RenderRequest,
    left_out,
    must_be_pullable,
    render,
    withheld,
)
from mlruntime.definitions.files import Definitions, read_text
from mlruntime.engine import Engine, EngineInfo, ImageInfo, Mount
from mlruntime.errors import UsageError
from mlruntime.host.nvml import read_gpus
from mlruntime.image.config import FLAVOUR_LABEL, LABEL
from mlruntime.lock.contract import labelled
from mlruntime.lock.model import CORE
from mlruntime.store.store import storage_errors
from mlruntime.workflows.build import reference
from mlruntime.workflows.cluster.fitting import (
    given,
    must_be_here,
    must_fit,
    must_have_connect,
    must_have_jupyter,
    must_run,
)
from mlruntime.workflows.locked import read_lock

_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What to start, the image's runtime for people, and the engine that it fits."""

    spec: ClusterSpec
    runtime: str
    image: ImageInfo
    engine: EngineInfo


def cluster_text(path: Path) -> str:
    """Return the text of a ``cluster.yaml``; ``InvalidDefinition`` when it cannot be read."""
    return read_text(path, str(path))


def choose(engine: Engine, definitions: Definitions, form: ClusterForm) -> Chosen:
    """Return what to start on an engine; ``UsageError`` for what it cannot give.

    Raises ``Unavailable`` when the image is for other processors than the engine's.
    """
    if form.runtime is not None:  # else only the image's label says its flavour
        must_have_jupyter(form, form.flavour or CORE)
    image = find_image(engine, definitions, form)
    info = engine.info()
    must_run(image, info)
    must_fit(form, info)
    must_have_connect(form, image)
    must_have_jupyter(form, image.labels.get(FLAVOUR_LABEL, CORE))
    gpus = NO_GPUS
    if form.gpus:
        must_be_here(info)
        gpus = given(form, labelled(image.labels), read_gpus())
    return Chosen(
        spec=spec_of(form, image.id, gpus),
        runtime=image.labels[f"{LABEL}.runtime"],
        image=image,
        engine=info,
    )


def find_image(engine: Engine, definitions: Definitions, form: ClusterForm) -> ImageInfo:
    """Return the image; one that the engine does not have, or that is not ours, is an error."""
    if form.runtime is not None:
        definitions.folder(form.runtime)  # with a "did you mean", as for the flavour
        if form.flavour is not None:
            read_lock(definitions, form.runtime).cut(form.flavour)
    named = image_name(form)
    image = engine.image_config(named)
    if f"{LABEL}.runtime" not in image.labels:
        raise UsageError(
            f"{named} was not built by mlruntime",
            why=f"it has no label {LABEL}.runtime: nothing is known of what it starts with",
            hint="build one: `mlruntime build RUNTIME --load`",
        )
    flavour, wanted = image.labels.get(FLAVOUR_LABEL, CORE), form.flavour
    if wanted is not None and flavour != wanted and not flavour.startswith(f"{wanted}-"):
        raise UsageError(
            f"{named} is of flavour {flavour}, not {wanted}",
            hint=f"leave out the flavour, or name an image of {wanted}",
        )
    return image


def image_name(form: ClusterForm) -> str:
    """Return the name that an image has in the engine."""
    if form.runtime is not None:
        return reference(form.runtime, form.variant, form.flavour or CORE)
    assert form.image is not None
    return form.image


def forwarding(info: EngineInfo, addresses: Mapping[str, str]) -> str | None:
    """Return what brings addresses of a remote engine's host here; ``None`` for an engine here."""
    if not info.remote or not addresses:
        return None
    url = urlsplit(info.endpoint.partition(" ")[0])
    user = f"{url.username}@" if url.username else ""
    port = f"-p {url.port} " if url.scheme == "ssh" and url.port else ""
    forwards = " ".join(f"-L {a.rpartition(':')[2]}:{a}" for a in addresses.values())
    return f"ssh -N {forwards} {port}{user}{url.hostname}"


def spec_of(form: ClusterForm, image: str, gpus: Gpus = NO_GPUS) -> ClusterSpec:
    """Return what to start of an image. A worker offers its memory less what it needs itself."""
    ports: Mapping[str, int] = {
        "ui": form.ports.ui,
        **({"history": form.ports.history} if form.history else {}),
        **({"connect": form.ports.connect} if form.connect else {}),
        **({"notebook": form.ports.notebook} if form.notebook else {}),
    }
    return ClusterSpec(
        image=image,
        workers=form.workers,
        cores=form.cores,
        memory=f"{form.limit_mib - WORKER_MIB}m",
        limit=form.limit_mib * _MIB,
        mounts=tuple(
            Mount(
                source=v.source,
                target=v.target.rstrip("/"),
                read_only=v.read_only,
                kind="bind" if v.source.startswith("/") else "volume",
            )
            for v in form.volumes or ()
        ),
        gpus=gpus,
        driver=False,
        history=form.history,
        connect=form.connect,
        notebook=form.notebook,
        settings=form.settings,
        ports=ports,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedFiles:
    """What was written: the files' names, and what the place cannot have."""

    names: tuple[str, ...]
    left_out: tuple[str, ...]


def wanted_elsewhere(
    definitions: Definitions, form: ClusterForm, place: str, name: str, *, image: str | None
) -> tuple[RenderRequest, tuple[str, ...]]:
    """Return what is started elsewhere, with a new secret, and what that place cannot have."""
    if form.runtime is None:
        raise UsageError(
            "files for other machines need a runtime",
            why="its lock says which Spark and which driver belong together",
            hint="write `runtime:` in the description, and name the image with --image",
        )
    lock = read_lock(definitions, form.runtime).cut(form.flavour or CORE)
    contract = lock.variant(form.variant).contract
    image = image or image_name(form)
    must_be_pullable(place, image)
    must_have_jupyter(form, lock.flavour)
    spec, notes = left_out(place, spec_of(form, image, Gpus(each=form.gpus)))
    wanted = RenderRequest(
        name=name,
        spec=spec,
        secret=secrets.token_hex(32),
        spark=dict(lock.components_of(form.variant))["spark"],
        driver=contract.minimum_driver if contract else None,
    )
    return wanted, notes


def render_cluster(
    definitions: Definitions,
    form: ClusterForm,
    place: str,
    name: str,
    output: Path,
    *,
    image: str | None = None,
) -> RenderedFiles:
    """Write the files that start a cluster elsewhere; a secret that is there already stays."""
    wanted, notes = wanted_elsewhere(definitions, form, place, name, image=image)
    files = render(place, wanted, cluster_templates(definitions))
    with storage_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        for file, rendered in files.items():
            _write(output / file, rendered)
    missing = (*notes, *withheld(place, wanted.spec))
    return RenderedFiles(names=tuple(sorted(files)), left_out=missing)


def cluster_templates(definitions: Definitions) -> dict[str, str]:
    """Return the templates below ``images/cluster`` by path."""
    found = definitions.image_files()
    return {
        path.removeprefix("cluster/"): content.decode()
        for path, content in found.items()
        if path.startswith("cluster/")
    }


def _write(path: Path, file: Rendered) -> None:
    if path.name.startswith("secret") and path.exists():
        return
    path.unlink(missing_ok=True)
    mode = (0o755 if file.executable else 0o644) & (0o700 if file.secret else 0o777)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as out:
        out.write(file.text)
    path.chmod(mode)
