"""What ``validate --on kubernetes`` is told to check: an image that its nodes can pull."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from mlruntime.cluster.kubernetes.backend import KubernetesClusters
from mlruntime.cluster.kubernetes.kubectl import Kubectl
from mlruntime.definitions.files import Definitions
from mlruntime.documents.oci import INDEX_TYPE
from mlruntime.engine import ImageInfo
from mlruntime.errors import Unavailable, UsageError
from mlruntime.lock.model import CORE
from mlruntime.registry.client import Repository
from mlruntime.registry.names import parse_name
from mlruntime.validation.catalog import CheckSpec
from mlruntime.validation.session import IMAGE_CHECK, Subject
from mlruntime.workflows.cluster.describing import cluster_templates
from mlruntime.workflows.locked import fresh_lock, libraries
from mlruntime.workflows.planning import planned_image

_EXAMPLE: Final = "--image registry.example.org/ml/6.0-ml@sha256:…"
# What the labels of an image are, by its digest; ``Unavailable`` if its registry does not say.
Labels = Callable[[str], Mapping[str, str]]


def pullable(definitions: Definitions, runtime: str | None, image: str | None) -> tuple[str, str]:
    """Return the runtime and its image; ``UsageError`` unless both are named, as they must be."""
    if runtime is None:
        raise UsageError(
            "nothing to validate is named", hint=f"`mlruntime validate 6.0-ml {_EXAMPLE}`"
        )
    definitions.folder(runtime)
    if image is None:
        raise UsageError("--on kubernetes needs a name that its nodes can pull", hint=_EXAMPLE)
    if parse_name(image).digest is None:
        raise UsageError(
            f"{image} has no digest",
            why="a tag may be another image tomorrow, and a report is about one image",
            hint=_EXAMPLE,
        )
    return runtime, image


def kubernetes_subject(
    definitions: Definitions,
    kube: Kubectl,
    runtime: str,
    image: str,
    labels: Labels,
    checks: Iterable[CheckSpec],
    *,
    variant: str,
    flavour: str | None,
    workers: int,
) -> tuple[KubernetesClusters, Subject]:
    """Return a namespace as a place for checks, and what must be in the image.

    Raises ``InvalidLock`` if the lock does not follow from its inputs any more.
    """
    lock = fresh_lock(definitions, runtime).cut(flavour or CORE)
    spark = dict(lock.components_of(variant))["spark"]
    cannot = {
        check.name: "needs a directory that all nodes see, and these pods have none"
        for check in checks
        if check.shared
    }
    found: Mapping[str, str] = {}
    try:
        found = labels(str(parse_name(image).digest))
    except Unavailable as error:
        cannot[IMAGE_CHECK] = f"the registry does not say which labels {image} has: {error.what}"
    there = ImageInfo(id=image, tags=(), labels=found, size=0, user="", environment=(), diff_ids=())
    place = KubernetesClusters(
        kube=kube, there=there, spark=spark, templates=cluster_templates(definitions)
    )
    return place, Subject(
        image=image,
        lock=lock,
        variant=variant,
        workers=workers,
        manifest=parse_name(image).digest,
        plan=planned_image(definitions, lock, variant).digest,
        libraries=libraries(definitions),
        why_no_more_gpus="checks on GPUs run in containers so far",
        cannot=cannot,
        place=f"Kubernetes, {kube.place}",
    )


def labels_in(repository: Repository, digest: str) -> Mapping[str, str]:
    """Return the labels of an image in a registry; ``UsageError`` for what is none."""
    manifest = repository.manifest(digest)
    if manifest is None:
        raise UsageError(f"{repository.name.repository} has no {digest}")
    if manifest.media_type == INDEX_TYPE:
        raise UsageError(
            f"{digest} is an index of several images",
            hint="name the image itself: `mlruntime release list` has its digest",
        )
    value: dict[str, Any] = json.loads(manifest.content)
    config = json.loads(repository.small_blob(value["config"]["digest"]))
    return dict(config.get("config", {}).get("Labels") or {})
