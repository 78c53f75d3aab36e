"""Whether an engine's host can run a cluster, and with which GPUs: asked before one is started."""

from mlruntime.cluster.form import ClusterForm
from mlruntime.cluster.gpus import Gpus
from mlruntime.doctor.gpus import judge
from mlruntime.engine import EngineInfo, ImageInfo
from mlruntime.errors import Unavailable, UsageError
from mlruntime.host.gpus import Device, HostGpus, NoGpus
from mlruntime.image.config import LABEL
from mlruntime.lock.contract import HostContract
from mlruntime.lock.model import CORE

_MIB = 1 << 20


def must_run(image: ImageInfo, info: EngineInfo) -> None:
    """Raise ``Unavailable`` when an image is for other processors than those of the engine's host.

    Where one emulates the other, a cluster would be too slow to be of use.
    """
    wanted, there = image.architecture, info.architecture
    if wanted and there and wanted != there:
        raise Unavailable(
            f"the image is for {wanted}, the engine's host is {there}",
            hint=f"name an engine on a host for {wanted}: DOCKER_HOST, or `docker context use`",
        )


def must_be_here(info: EngineInfo) -> None:
    """Raise ``UsageError`` when GPUs are asked of an engine whose host cannot be asked for them."""
    if info.remote:
        raise UsageError(
            "GPUs can be given to workers of an engine on this host only",
            why=f"the engine is {info.endpoint}, and its API does not tell which GPUs are there",
            hint="run mlruntime on that host",
        )


def must_fit(form: ClusterForm, info: EngineInfo) -> None:
    """Raise ``UsageError`` when a worker, or all workers' memory, is more than the host has.

    Cores may be more in all than there are: workers share them, as any processes do.
    """
    if form.cores > info.cpus:
        raise UsageError(
            f"a worker of {form.cores} cores, but the engine's host has {info.cpus}",
            hint=f"write `cores: {info.cpus}` or less",
        )
    if form.limit_mib * _MIB > info.memory:
        raise UsageError(
            f"a worker with {form.memory} of memory, but the engine's host has "
            f"{info.memory / (1 << 30):.1f} GiB",
            hint="write less in `memory:`",
        )
    must_have_memory(form.workers, form.limit_mib * _MIB, info)


def must_have_memory(workers: int, each: int, info: EngineInfo) -> None:
    """Raise ``UsageError`` when workers that use all they may, in bytes, would not fit."""
    if workers * each > info.memory:
        raise UsageError(
            f"{workers} workers with {each / (1 << 30):.3g} GiB of memory each, but the engine's "
            f"host has {info.memory / (1 << 30):.1f} GiB",
            why="each may use all of its memory, and then the host ends processes to have more",
            hint="fewer workers, or less memory for each",
        )


def must_have_connect(form: ClusterForm, image: ImageInfo) -> None:
    """Raise ``UsageError`` when the image has no server of Spark Connect, as before Spark 4."""
    spark = image.labels.get(f"{LABEL}.component.spark", "")
    if form.connect and spark.partition(".")[0] in ("2", "3"):
        raise UsageError(
            f"Spark {spark} comes without the server of Spark Connect",
            why="before Spark 4 it is a jar of its own, which this image does not have",
            hint="leave out `connect`, or take a runtime with Spark 4",
        )


def must_have_jupyter(form: ClusterForm, flavour: str) -> None:
    """Raise ``UsageError`` when the image's flavour certainly has no JupyterLab.

    What others have, the image itself knows: its entry point says so when there is none.
    """
    if form.notebook and flavour == CORE:
        raise UsageError(
            "an image of flavour core has no JupyterLab",
            why="driver and workers must have the same packages, so it must be in that image",
            hint="`flavour: notebook`, or --flavour notebook",
        )


def given(form: ClusterForm, contract: HostContract | None, host: HostGpus | NoGpus) -> Gpus:
    """Deal out those GPUs of a host that can run the image; ``UsageError`` for too few.

    An image without a ``contract`` says nothing of GPUs: it gets any that work.
    """
    devices, why = _able(contract, host)
    wanted = form.gpus * form.workers
    if len(devices) < wanted:
        raise UsageError(
            f"{form.workers} workers with {form.gpus} GPUs each, but this host has {len(devices)}"
            + (" that can run the image" if contract else ""),
            why=why or None,
            hint="`mlruntime doctor` says what it has",
        )
    uuids = [device.uuid for device in devices[:wanted]]
    shares = [tuple(uuids[n : n + form.gpus]) for n in range(0, wanted, form.gpus)]
    return Gpus(each=form.gpus, devices={f"worker-{n + 1}": s for n, s in enumerate(shares)})


def _able(contract: HostContract | None, host: HostGpus | NoGpus) -> tuple[list[Device], str]:
    """Return the GPUs that can be used, and why there are no more."""
    if contract is not None:
        judgement = judge(contract, host)
        refused = (verdict for verdict in judgement.verdicts if not verdict.able)
        why = "; ".join(f"{v.about}: {v.what}" + (f" ({v.why})" if v.why else "") for v in refused)
        return list(judgement.devices), why
    if isinstance(host, NoGpus):
        return [], host.what
    broken = "; ".join(f"{d}: {d.trouble}" for d in host.devices if d.trouble)
    return [device for device in host.devices if not device.trouble], broken
