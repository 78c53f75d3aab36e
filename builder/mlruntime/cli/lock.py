"""``mlruntime lock``."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.host import this_host
from mlruntime.cli.output import emit, mb
from mlruntime.definitions.files import Definitions
from mlruntime.errors import InvalidLock, UsageError
from mlruntime.lock.model import Flavour, Lock
from mlruntime.lock.packages import Artifact
from mlruntime.locking.request import LockRequest, refuse_future
from mlruntime.workflows.host import Host
from mlruntime.workflows.locked import lock_request, read_lock
from mlruntime.workflows.locking import core_to_keep, make_lock, reasons_to_lock, write_if_changed


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("lock")(lock)


def lock(
    ctx: typer.Context,
    runtime: Annotated[
        str, typer.Argument(metavar="RUNTIME", help="the runtime's id, such as 6.0-ml")
    ],
    check: Annotated[
        bool,
        typer.Option("--check", help="write nothing; exit with 4 and say why if the lock is stale"),
    ] = False,
    registry: Annotated[
        bool, typer.Option("--registry", help="with --check: also ask the registries")
    ] = False,
    omit_unavailable: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COMPONENT", help="leave this component out if a registry lacks it; repeatable"
        ),
    ] = None,
    keep_core: Annotated[
        bool, typer.Option("--keep-core", help="lock only the flavours anew")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Lock every artifact of a runtime, or check its lock.

    The lock, runtimes/RUNTIME/lock.json, has each one by version, size and sha256.
    """
    context: Context = ctx.obj
    definitions = Definitions(context.root)
    path = definitions.lock_path(runtime)
    request = lock_request(definitions, runtime)
    host = ctx.with_resource(this_host(context))
    if check:
        _check(definitions, request, host if registry else None, as_json=as_json)
        return
    if registry:
        raise UsageError("--registry needs --check")
    refuse_future(request, datetime.now(UTC))
    keep = core_to_keep(definitions, request) if keep_core else None
    made = make_lock(definitions, request, host, tuple(omit_unavailable or ()), keep)
    written = write_if_changed(path, made.to_json())
    result = summary(made) | {"file": definitions.shown(path), "written": written}
    emit(result, _text(result), as_json)


def _check(
    definitions: Definitions, request: LockRequest, host: Host | None, *, as_json: bool
) -> None:
    runtime = request.runtime
    shown = definitions.shown(definitions.lock_path(runtime))
    locked = read_lock(definitions, runtime)
    why = reasons_to_lock(definitions, locked, request, host)
    result = {"runtime": runtime, "file": shown, "digest": locked.digest, "stale": list(why)}
    if as_json or not why:
        emit(result, f"{shown} is up to date", as_json)
    if why:
        raise InvalidLock(
            "the lock is stale",
            where=shown,
            why="; ".join(why),
            hint=f"run `mlruntime lock {runtime}`",
        )


def summary(lock: Lock) -> dict[str, Any]:
    """Return the verb's JSON; sizes in bytes."""
    wheels = [*lock.python, *(a for v in lock.variants for a in v.python)]
    added = {flavour.name: _wheels_of(flavour) for flavour in lock.flavours}
    conda = [p.artifact for p in (*lock.conda, *(p for v in lock.variants for p in v.conda))]
    builds = {n.key: n for v in lock.variants for n in v.native}
    sdists = [n.sdist for n in builds.values()]
    tools = {a.sha256: a for n in builds.values() for a in (*n.link_against, *n.requirements)}
    return {
        "runtime": lock.runtime,
        "digest": lock.digest,
        "components": lock.all_components,
        "omitted": [
            {"component": o.component, "artifact": o.artifact, "why": o.why}
            for o in lock.all_omitted
        ],
        "artifacts": {
            "debian": _tally(lock.os),
            "debian to compile with": _tally(lock.build_depends),
            "wheels": _tally(wheels),
            "sdists": _tally(sdists),
            "build requirements": _tally(
                [a for sha, a in tools.items() if sha not in {w.sha256 for w in wheels}]
            ),
            "jars": _tally(lock.jars),
            **({"conda packages": _tally(conda)} if conda else {}),
            **{f"debian of {f.name}": _tally(f.os) for f in lock.flavours if f.os},
            **{f"wheels of {name}": _tally(found) for name, found in added.items()},
            **{f"jars of {f.name}": _tally(f.jars) for f in lock.flavours if f.jars},
        },
        "native": [{"name": n.name, "version": n.version, "key": n.key} for n in builds.values()],
    }


def _wheels_of(flavour: Flavour) -> list[Artifact]:
    return [*flavour.python, *(a for v in flavour.variants for a in v.python)]


def _tally(artifacts: list[Artifact] | tuple[Artifact, ...]) -> dict[str, int]:
    return {"count": len(artifacts), "size": sum(a.size for a in artifacts)}


def _text(result: dict[str, Any]) -> str:
    lines = [f"{'artifacts':24} {'files':>5} {'size':>11}"]
    for name, tally in result["artifacts"].items():
        lines.append(f"{name:24} {tally['count']:5} {mb(tally['size'], 11)}")
    lines += [f"built here: {n['name']} {n['version']}  {n['key']}" for n in result["native"]]
    lines += [f"left out: {o['component']}, because {o['why']}" for o in result["omitted"]]
    state = "written" if result["written"] else "unchanged"
    lines.append(f"{result['file']} {state}: {result['digest']}")
    return "\n".join(lines)
