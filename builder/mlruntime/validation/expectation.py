"""What a lock promises about an image: labels, and what the programs in it compare with. Core."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mlruntime.documents.reading import did_you_mean
from mlruntime.errors import UsageError
from mlruntime.image.config import FLAVOUR_LABEL, LABEL, PLAN_LABEL
from mlruntime.lock.model import CORE, Lock
from mlruntime.validation.s3 import S3
from mlruntime.validation.state import Planned

# Components that a family needs besides the one of the same name.
_NEEDED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "horovod": ("horovodrunner", "pipeline"),
    "keras": ("horovodrunner", "pipeline"),
    "tensorflow": ("keras", "horovod", "horovodrunner", "pipeline"),
}


def labels(lock: Lock, variant: str, plan: str | None = None) -> dict[str, str]:
    """Return the labels that an image built from this lock, by the plan of this digest, has."""
    absent = {omission.component for omission in lock.all_omitted}
    contract = lock.variant(variant).contract
    return {
        **(dict(contract.labels()) if contract else {}),
        f"{LABEL}.runtime": lock.runtime,
        f"{LABEL}.variant": variant,
        f"{LABEL}.lock.digest": lock.digest,
        **({} if lock.flavour == CORE else {FLAVOUR_LABEL: lock.flavour}),
        **({PLAN_LABEL: plan} if plan else {}),
        **{f"{LABEL}.component.{n}": v for n, v in lock.components_of(variant) if n not in absent},
    }


def python_packages(lock: Lock, variant: str) -> dict[str, str]:
    """Return every locked Python distribution of the image: PEP 503 name to version.

    A dummy package is one: ``pip list`` shows it.
    """
    return lock.whole(variant).distributions


def expectation(
    lock: Lock,
    variant: str,
    *,
    libraries: Mapping[str, str],
    image: str | None,
    master: str,
    driver: str,
    workers: Sequence[str],
    nodes: Mapping[str, str],
    shared: str,
    settings: Mapping[str, str],
    environment: str | None = None,
    s3: S3 | None = None,
) -> dict[str, Any]:
    """Return the JSON that the programs in the driver get.

    ``libraries`` are our own distributions in the image with their versions, which no lock
    names; ``nodes`` says which image each host really runs; ``shared`` is a directory that all
    of them see; ``settings`` are those with which an application gets all of the cluster;
    ``environment`` is the directory of an environment, if it is no image that is checked; ``s3`` a
    server to try.
    """
    absent = {omission.component for omission in lock.all_omitted}
    components = {n: v for n, v in lock.components_of(variant) if n not in absent}
    contract = lock.variant(variant).contract
    return {
        "master": master,
        "workers": len(workers),
        "worker_hosts": list(workers),
        "driver_host": driver,
        "python_packages": {**python_packages(lock, variant), **libraries},
        "components": components,
        "java": components.get("java", ""),
        "image": image,
        "node_images": dict(nodes),
        "labels": labels(lock, variant),
        "shared": shared,
        "environment": environment,
        "contract": contract.to_dict() if contract else None,
        "settings": dict(settings),
        "jars": {jar.filename: jar.sha256 for jar in lock.whole(variant).jars},
        "s3": s3.to_dict() if s3 else None,
    }


def absent_checks(lock: Lock, checks: Iterable[Planned]) -> dict[str, str]:
    """Return the names of the checks that cannot be run, each with the declared reason."""
    found: dict[str, str] = {}
    for omission in lock.all_omitted:
        families = (omission.component, *_NEEDED_BY.get(omission.component, ()))
        for check in checks:
            if check.name.partition(".")[0] in families or omission.component in check.needs:
                reason = f"the lock leaves {omission.component} out: {omission.why}"
                found.setdefault(check.name, reason)
    return found


def selected(names: Iterable[str], only: Sequence[str]) -> tuple[str, ...]:
    """Return the names that ``only`` asks for (families or full names), all when it is empty.

    An unknown name raises ``UsageError`` with a "did you mean".
    """
    names = tuple(names)
    known = sorted({*names, *(name.partition(".")[0] for name in names)})
    for wanted in only:
        if wanted not in known:
            raise UsageError(f"there is no check {wanted!r}", hint=did_you_mean(wanted, known))
    wanted_names = set(only)
    return tuple(
        name for name in names if not only or wanted_names & {name, name.partition(".")[0]}
    )
