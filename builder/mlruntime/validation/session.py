"""One validation from an image to a report: cluster up, checks, cluster down."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.gpus import NO_GPUS, Gpus
from mlruntime.cluster.running import ClusterFailed, Clusters, Process, RunningCluster
from mlruntime.engine.values import ImageInfo
from mlruntime.lock.model import Lock
from mlruntime.validation import resources
from mlruntime.validation.catalog import CHECKS
from mlruntime.validation.expectation import absent_checks, expectation, labels, selected
from mlruntime.validation.measuring import measure
from mlruntime.validation.pace import Pace
from mlruntime.validation.report import CheckResult, Report, ReportedHost
from mlruntime.validation.runner import Observer, Runner
from mlruntime.validation.s3 import NO_SERVER, S3
from mlruntime.validation.state import Planned, failed

# This check runs outside the image, without a program in it.
IMAGE_CHECK: Final = "identity.image"
# A cluster whose driver waits for one worker has two processes that compute.
_AT_LEAST: Final = 2
# How long a cluster may take until all its workers have registered.
READY_SECONDS: Final = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """The image to validate, and the lock that says what must be in it.

    ``plan`` is the digest of the plan by which the image must have been made; ``None``: any.
    ``libraries`` are our own distributions in the image (name to version), which the lock does
    not name; ``gpus`` what the workers get of the host's, ``why_no_more_gpus`` the reason for
    which it is not more. ``node_images`` gives single nodes (``worker-1``) another image,
    ``environment`` is set on every node; both are for images that are broken on purpose. ``cannot``
    are checks that the cluster cannot be asked for, with the reason; ``place`` names the cluster.
    ``directory`` is an environment's that is checked instead of an image; ``s3`` a server that its
    checks try, ``why_no_s3`` the reason why there is none.
    """

    image: str
    lock: Lock
    variant: str
    workers: int = 2
    manifest: str | None = None
    plan: str | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    node_images: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    gpus: Gpus = NO_GPUS
    why_no_more_gpus: str = "the cluster was given none"
    cannot: Mapping[str, str] = field(default_factory=dict)
    place: str = "containers"
    directory: str | None = None
    s3: S3 | None = None
    why_no_s3: str = NO_SERVER


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which checks to run in the image, whether to look at the image, what is not run and why."""

    programs: tuple[Planned, ...]
    image: bool
    absent: Mapping[str, str]
    names: tuple[str, ...]


def planned(
    checks: Sequence[Planned],
    only: Sequence[str],
    lock: Lock,
    variant: str,
    *,
    gpus: int = 0,
    why_no_more: str = "",
    cannot: Mapping[str, str] | None = None,
) -> Selection:
    """Select checks; what ``only`` does not name does not count. Core: no I/O.

    Nor does a check that needs a component or a flavour which the image does not even have. One
    that needs more GPUs than the cluster has, ``gpus``, is not run, for the reason given.
    """
    components = {*dict(lock.components_of(variant)), *(o.component for o in lock.all_omitted)}
    ours = [
        check
        for check in checks
        if check.name != IMAGE_CHECK
        and components.issuperset(check.needs)
        and check.flavour in lock.flavour_names
    ]
    by_name = {check.name: check for check in ours}
    names = selected((IMAGE_CHECK, *by_name), only)
    wanted = [by_name[name] for name in names if name in by_name]
    absent = {
        check.name: f"needs {'a GPU' if check.gpus == 1 else f'{check.gpus} GPUs'}: {why_no_more}"
        for check in wanted
        if check.gpus > gpus
    }
    absent |= {name: why for name, why in (cannot or {}).items() if name in names}
    absent |= absent_checks(lock, wanted)
    return Selection(
        programs=tuple(by_name[n] for n in names if n in by_name and n not in absent),
        image=IMAGE_CHECK in names and IMAGE_CHECK not in absent,
        absent=absent,
        names=names,
    )


def plan_of(subject: Subject, checks: Sequence[Planned], only: Sequence[str]) -> Selection:
    """Select the checks of a subject."""
    unserved = {} if subject.s3 else {c.name: subject.why_no_s3 for c in CHECKS if c.on_s3}
    return planned(
        checks,
        only,
        subject.lock,
        subject.variant,
        gpus=subject.gpus.each * subject.workers,
        why_no_more=subject.why_no_more_gpus,
        cannot={**unserved, **subject.cannot},
    )


def validate(
    place: Clusters,
    subject: Subject,
    checks: Sequence[Planned],
    *,
    observer: Observer,
    only: Sequence[str] = (),
    multiplier: float = 1.0,
    say: Callable[[str], None] = lambda _: None,
    programs: Path = resources.PROGRAMS,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Report:
    """Run the checks on a cluster made of the image; every selected check is in the report.

    Time limits are multiplied by ``multiplier``, and by how slow the cluster's host is. A cluster
    that does not come up fails all checks; an engine that cannot be reached raises
    ``Unavailable``.
    """
    plan = plan_of(subject, checks, only)
    image, info = place.image(subject.image), place.info()
    watch = Watch(Pace(multiplier=multiplier), say, subject.workers)
    started, begin = now(), clock()
    results = {name: _not_run(name, why) for name, why in plan.absent.items()}
    for result in results.values():
        observer.ended(result)
    if plan.image or plan.programs:
        spec = ClusterSpec(
            image=image.id,
            workers=subject.workers,
            node_images=subject.node_images,
            environment=subject.environment,
            gpus=subject.gpus,
        )
        results |= _on_cluster(
            place, subject, spec, image, plan, observer, watch, say, programs, clock
        )
    return Report(
        runtime=subject.lock.runtime,
        variant=subject.variant,
        image=image.id,
        manifest=subject.manifest,
        lock=subject.lock.digest,
        workers=watch.workers,
        place=subject.place,
        host=ReportedHost(
            kernel=info.kernel,
            cpus=info.cpus,
            memory=info.memory,
            engine=f"{info.product} {info.version}",
        ),
        started=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=clock() - begin,
        pace=watch.pace,
        checks=tuple(results[name] for name in plan.names),
    )


def _on_cluster(
    place: Clusters,
    subject: Subject,
    spec: ClusterSpec,
    image: ImageInfo,
    plan: Selection,
    observer: Observer,
    watch: "Watch",
    say: Callable[[str], None],
    programs: Path,
    clock: Callable[[], float],
) -> dict[str, CheckResult]:
    results: dict[str, CheckResult] = {}
    try:
        ready = READY_SECONDS * watch.pace.factor
        with place.up(spec, say=say, ready=ready, clock=clock) as running:
            nodes = running.images()
            watch.workers = len(running.worker_hosts)
            if plan.image:
                wanted = labels(subject.lock, subject.variant, subject.plan)
                results[IMAGE_CHECK] = check_image(image, nodes, wanted)
                observer.ended(results[IMAGE_CHECK])
            factor = watch.look(running) if plan.programs else 1.0
            expect = _expectation(subject, image, running, nodes) | {"time_factor": factor}
            running.put(resources.PARENT, resources.archive(expect, programs))
            results |= Runner(
                plan.programs,
                ClusterTarget(running),
                observer,
                clock,
                factor=factor,
                slower=lambda: watch.look(running),
            ).run()
    except ClusterFailed as error:
        why = "\n".join(filter(None, (f"the cluster did not come up: {error.what}", error.why)))
        for name in plan.names:
            if name not in plan.absent and name not in results:
                results[name] = failed(name, why)
                observer.ended(results[name])
    return results


def _expectation(
    subject: Subject, image: ImageInfo, running: RunningCluster, nodes: Mapping[str, str]
) -> dict[str, Any]:
    return expectation(
        subject.lock,
        subject.variant,
        libraries=subject.libraries,
        image=image.id if nodes else None,
        master=running.master_url,
        driver=running.driver_host,
        workers=running.worker_hosts,
        nodes=nodes,
        shared=running.shared,
        settings=running.settings,
        environment=subject.directory,
        s3=subject.s3,
    )


def check_image(
    image: ImageInfo, nodes: Mapping[str, str], wanted: Mapping[str, str]
) -> CheckResult:
    """Compare what every node runs with the expected image, and its labels with ``wanted``."""
    wrong = [
        f"{node} runs {found}, not {image.id}" for node, found in nodes.items() if found != image.id
    ]
    wrong += [
        f"label {key} is {image.labels.get(key)!r}, it must be {value!r}"
        for key, value in wanted.items()
        if image.labels.get(key) != value
    ]
    detail = {"nodes": len(nodes), "images": len({*nodes.values()}), "labels": len(wanted)}
    if wrong:
        return failed(IMAGE_CHECK, "\n".join(wrong), detail=detail)
    return CheckResult(name=IMAGE_CHECK, status="passed", seconds=0.0, detail=detail, error=None)


def _not_run(name: str, why: str) -> CheckResult:
    return CheckResult(name=name, status="not-run", seconds=0.0, detail={}, error=why)


class ClusterTarget:
    """Runs check programs on the driver of a cluster."""

    def __init__(self, running: RunningCluster) -> None:
        self._cluster = running
        self._dead: tuple[str, str] | None = None

    def launch(self, names: Sequence[str]) -> Process:
        """Start ``python -m programs.main`` for these checks."""
        argv = ["python", "-m", "programs.main", "--expect", resources.EXPECTATION, *names]
        return self._cluster.run(argv, workdir=resources.FOLDER)

    def casualty(self) -> tuple[str, str] | None:
        """Return the first node that ended, and its last lines; a death is never forgotten."""
        if self._dead is None:
            self._dead = self._cluster.casualty()
        return self._dead


class Watch:
    """Measures how slow the driver's host is, and remembers the slowest that it has seen."""

    def __init__(self, pace: Pace, say: Callable[[str], None], workers: int) -> None:
        self.pace = pace
        self.workers = workers
        self._say = say

    def look(self, running: RunningCluster) -> float:
        """Measure; return what limits are to be multiplied by."""
        before = self.pace.factor
        self.pace = self.pace.slower(measure(running.run, max(self.workers, _AT_LEAST)))
        if self.pace.factor > before:
            self._say(f"time limits are multiplied by {self.pace.factor:g}: {self.pace.why}")
        return self.pace.factor
