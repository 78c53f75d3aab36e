"""Where a validation runs: a cluster made for it, one that was started here, or any other."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mlruntime.cluster.containers import ContainerClusters
from mlruntime.cluster.form import good_name
from mlruntime.cluster.gpus import NO_GPUS
from mlruntime.cluster.joining import SparkClusters, StandingClusters
from mlruntime.cluster.running import Clusters
from mlruntime.cluster.standing import find
from mlruntime.definitions.files import read_text
from mlruntime.engine import Engine
from mlruntime.errors import UsageError
from mlruntime.validation.catalog import CheckSpec
from mlruntime.validation.session import IMAGE_CHECK, Subject
from mlruntime.workflows.cluster.places import CONTAINERS

_SPARK: Final = r"spark://[A-Za-z0-9.-]+:[0-9]{1,5}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckPlace:
    """What ``--on`` names; ``network`` and ``secret`` are for a cluster by its URL."""

    on: str = CONTAINERS
    network: str = "host"
    secret: str | None = None


def check_place(on: str, network: str | None, secret: Path | None) -> CheckPlace:
    """Return what the command line says; ``UsageError`` for what can be no place."""
    spark = on.startswith("spark:")
    if spark and not re.fullmatch(_SPARK, on):
        raise UsageError(f"{on!r} is not the URL of a master", hint="spark://HOST:7077")
    if not spark and (network or secret):
        raise UsageError("--network and --secret are for --on spark://HOST:PORT")
    if not spark:
        good_name(on, UsageError)
    text = read_text(secret, str(secret), UsageError).strip() if secret is not None else None
    return CheckPlace(on=on, network=network or "host", secret=text)


def located(
    engine: Engine, place: CheckPlace, subject: Subject, checks: Iterable[CheckSpec]
) -> tuple[Clusters, Subject]:
    """Return the place, and the subject with what can be asked there."""
    if place.on == CONTAINERS:
        return ContainerClusters(engine), subject
    if place.on.startswith("spark:"):
        clusters = SparkClusters(
            engine=engine, url=place.on, network=place.network, secret=place.secret
        )
        return clusters, _unknown(subject, place.on, checks)
    cluster = find(engine, place.on)
    spec = cluster.spec
    there = replace(
        subject,
        workers=len(cluster.workers),
        gpus=spec.gpus,
        why_no_more_gpus=f"cluster {place.on} has {spec.gpus.each * len(cluster.workers)}",
        place=f"cluster {place.on}",
    )
    return StandingClusters(engine=engine, cluster=cluster), there


def _unknown(subject: Subject, url: str, checks: Iterable[CheckSpec]) -> Subject:
    cannot = {
        IMAGE_CHECK: f"which image the nodes of {url} run can only be asked where they are",
        **{
            check.name: f"needs a directory that all nodes see, and {url} names none"
            for check in checks
            if check.shared
        },
    }
    why = f"nothing is known of the GPUs of {url}"
    return replace(subject, cannot=cannot, gpus=NO_GPUS, why_no_more_gpus=why, place=url)
