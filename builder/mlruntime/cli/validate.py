"""``mlruntime validate``."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mlruntime.cli.context import Context, absolute
from mlruntime.cli.host import JARS, REQUIREMENTS, with_added
from mlruntime.cli.output import emit, say, warn
from mlruntime.cli.registry import opened
from mlruntime.cluster.kubernetes.kubectl import kubectl
from mlruntime.cluster.running import Clusters
from mlruntime.definitions.files import Definitions
from mlruntime.engine import connect
from mlruntime.errors import UsageError
from mlruntime.image.difference import DEFAULT_VARIANT
from mlruntime.store.store import storage_errors
from mlruntime.validation.catalog import CHECKS
from mlruntime.validation.expectation import selected
from mlruntime.validation.report import CheckResult, Report, numbers
from mlruntime.validation.s3 import UNREACHABLE, parse_s3
from mlruntime.validation.session import IMAGE_CHECK, Subject, plan_of, validate
from mlruntime.workflows.check_places import check_place, located
from mlruntime.workflows.checking import environment_subject, is_path
from mlruntime.workflows.cluster.places import CONTAINERS, KUBERNETES
from mlruntime.workflows.cluster.subject import kubernetes_subject, labels_in, pullable
from mlruntime.workflows.inputs import support_warning
from mlruntime.workflows.subjects import find_subject

STILL_SECONDS = 5.0


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("validate")(command)


def command(
    ctx: typer.Context,
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUNTIME|IMAGE]",
            help="a runtime's id, an image or an OCI layout; none for an environment",
        ),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(metavar="VARIANT", help="cpu or gpu (default: the image's own, else cpu)"),
    ] = None,
    flavour: Annotated[
        str | None,
        typer.Option(
            metavar="FLAVOUR", help="of the runtime (default: the image's own, else core)"
        ),
    ] = None,
    requirements: Annotated[Path | None, REQUIREMENTS] = None,
    jars: Annotated[Path | None, JARS] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Spark workers to start")
    ] = 2,
    on: Annotated[
        str,
        typer.Option(
            metavar="PLACE",
            help="containers, kubernetes, a cluster's name, spark://HOST:PORT, an environment's "
            "path with a /",
        ),
    ] = CONTAINERS,
    network: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="with spark://: the driver's network (default: host)"),
    ] = None,
    secret: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="with spark://: a file with the cluster's secret"),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGE", help="with kubernetes: REGISTRY/NAME@sha256:…, to pull there"
        ),
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="with kubernetes: the namespace (default: the context's)"
        ),
    ] = None,
    s3: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="http://HOST:PORT/BUCKET for the checks of S3; its login in AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY",
        ),
    ] = None,
    multiplier: Annotated[
        float,
        typer.Option(
            "--timeout-multiplier",
            metavar="N",
            min=1,
            max=100,
            help="multiply all time limits by N",
        ),
    ] = 1.0,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="a check or family; repeatable")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="write JUnit XML here")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write the JSON report here")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Test an image on a cluster, or an environment.

    Every check compares numbers. Without --on, it starts a cluster of containers for the checks;
    `--on kubernetes` starts one there. A cluster of yours is left as it was. `--on ./ml` tests an
    environment, without containers.
    """
    definitions = Definitions(ctx.obj.root)
    for path in (junit, report):
        _writable(path)
    selected((IMAGE_CHECK, *(check.name for check in CHECKS)), tuple(only or ()))
    server = parse_s3(s3, os.environ) if s3 is not None else None
    if server and on == CONTAINERS:
        raise UsageError(
            "--s3 is for a cluster that is there, or an environment",
            why="the cluster of containers has a network of its own, and reaches no other",
            hint="`mlruntime validate --on ./ml --s3 …` tests an environment of flavour cloud",
        )

    def run(clusters: Clusters, chosen: Subject) -> Report:
        chosen = replace(chosen, s3=server)
        if on == CONTAINERS:
            chosen = replace(chosen, why_no_s3=UNREACHABLE)
        today = datetime.now(UTC).date()
        if ended := support_warning(definitions, chosen.lock.runtime, today):
            warn(ended)
        return validate(
            clusters,
            chosen,
            CHECKS,
            only=tuple(only or ()),
            multiplier=multiplier,
            say=say,
            observer=CheckProgress(say=say, total=count(chosen, only or ())),
        )

    if on != KUBERNETES and (image or namespace):
        raise UsageError("--image and --namespace are for --on kubernetes")
    if on == KUBERNETES:
        if network or secret or requirements or jars:
            raise UsageError(
                "--network, --secret, --with and --with-jars are not for --on kubernetes",
                hint="push the image with its packages, and name it with --image",
            )
        runtime, name = pullable(definitions, subject, image)
        result = run(*_in_namespace(ctx.obj, runtime, name, namespace, variant, flavour, workers))
    elif is_path(on):
        if variant or flavour or network or secret or requirements or jars:
            raise UsageError(
                "an environment has its variant, flavour and packages, and no network of its own",
                hint="leave out --variant, --flavour, --with, --with-jars, --network and --secret",
            )
        root = absolute(Path(on))
        result = run(*environment_subject(definitions, subject, root, workers, os.environ))
    else:
        place = check_place(on, network, secret)
        if subject is None:
            raise UsageError("nothing to validate is named", hint="`mlruntime validate 6.0-ml`")
        with connect() as engine:
            added = partial(with_added, definitions, file=requirements, jars=jars)
            found = find_subject(engine, definitions, subject, variant, workers, flavour, added)
            result = run(*located(engine, place, found, CHECKS))
    _write(junit, result.to_junit())
    _write(report, result.to_json())
    emit(result.to_dict(), result.to_text(), as_json)
    _leave(result)


def _in_namespace(
    context: Context,
    runtime: str,
    image: str,
    namespace: str | None,
    variant: str | None,
    flavour: str | None,
    workers: int,
) -> tuple[Clusters, Subject]:
    """Return a namespace of Kubernetes as a place for checks, and what is checked there."""
    kube = kubectl(os.environ, namespace)
    kube.must_have_namespace()
    with opened(image, context.ca_bundle) as (repository, _):
        return kubernetes_subject(
            Definitions(context.root), kube, runtime, image, partial(labels_in, repository), CHECKS,
            variant=variant or DEFAULT_VARIANT, flavour=flavour, workers=workers,
        )  # fmt: skip


def count(subject: Subject, only: list[str] | tuple[()]) -> int:
    """Return how many checks there will be."""
    return len(plan_of(subject, CHECKS, tuple(only)).names)


def _leave(result: Report) -> None:
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _writable(path: Path | None) -> None:
    """Refuse a report file that cannot be written, before checks run for minutes."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise UsageError(f"cannot write {path}", why="it must be a file in an existing directory")


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        with storage_errors(path):
            path.write_text(text, encoding="utf-8")


@dataclass(kw_only=True, slots=True)
class CheckProgress:
    """Shows how each check ends, and every few seconds which one is still running."""

    total: int
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _count: int = 0
    _said: float = field(default=0.0)

    def started(self, name: str) -> None:
        """Note the time: a check that ends soon is shown once."""
        self._said = self.clock()

    def ended(self, result: CheckResult) -> None:
        """Say how it ended."""
        self._count += 1
        self._said = self.clock()
        told = result.message if result.error else numbers(result.detail)
        line = f"[{self._count}/{self.total}] {result.name}: {result.status}"
        self.say(f"{line} in {result.seconds:.1f} s  {told}"[:160].rstrip())

    def waiting(self, name: str | None, seconds: float) -> None:
        """Say what is waited for."""
        now = self.clock()
        if now - self._said >= STILL_SECONDS:
            self._said = now
            self.say(f"{name or 'the check program'}: {seconds:.0f} s so far")
