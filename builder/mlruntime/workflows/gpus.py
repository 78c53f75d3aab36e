"""Which of this host's GPUs a cluster of containers gets, and why it gets no more."""

from dataclasses import dataclass

from mlruntime.cluster.gpus import NO_GPUS, Gpus, dealt
from mlruntime.doctor.gpus import (
    judge,
)
from mlruntime.host.gpus import (
    HostGpus,
    NoGpus,
)
from mlruntime.host.nvml import read_gpus
from mlruntime.lock.contract import HostContract


@dataclass(frozen=True, kw_only=True, slots=True)
class Supply:
    """What workers are given, and the reason for which it is not more."""

    gpus: Gpus = NO_GPUS
    why_no_more: str = ""


def supply(
    contract: HostContract | None, workers: int, host: HostGpus | NoGpus | None = None
) -> Supply:
    """Deal out those GPUs of this host that can run the image; ``host`` is read unless given.

    An image without a contract needs none. Raises ``UsageError`` when there are some, but fewer
    than workers.
    """
    if contract is None:
        return Supply(why_no_more="the image is not for GPUs")
    judgement = judge(contract, host or read_gpus())
    if not judgement.devices:
        reasons = (v for v in judgement.verdicts if not v.able)
        why = "; ".join(f"{v.about}: {v.what}" + (f" ({v.why})" if v.why else "") for v in reasons)
        return Supply(why_no_more=f"this host cannot run the image: {why}")
    gpus = dealt([device.uuid for device in judgement.devices], workers)
    count = gpus.each * workers
    return Supply(gpus=gpus, why_no_more=f"the cluster has {count}")
