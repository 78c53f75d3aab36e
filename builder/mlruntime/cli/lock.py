"""``mlruntime lock``."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.output import emit, say
from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.native.inputs import load_recipes
from mlruntime.errors import InvalidLock, UsageError
from mlruntime.fetch.web import Web
from mlruntime.lock.model import Artifact, Lock
from mlruntime.locking.assembly import assemble
from mlruntime.locking.registries import HostRegistries
from mlruntime.locking.request import LockRequest, ask
from mlruntime.locking.staleness import input_digests, stale_artifacts, stale_inputs, stale_versions
from mlruntime.resolve.resolution import resolve
from mlruntime.store.store import Store, full_disk, write_whole
from mlruntime.workflows.inputs import read_lock, read_matrix, read_runtime
from mlruntime.workflows.stores import host_sources, store_root


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("lock")(lock)


def lock(
    ctx: typer.Context,
    runtime: Annotated[str, typer.Argument(help="the runtime's id, say 6.0-ml")],
    check: Annotated[
        bool,
        typer.Option("--check", help="write nothing; say what is stale, exit 4 if anything is"),
    ] = False,
    registry: Annotated[
        bool, typer.Option("--registry", help="with --check: ask the registries too")
    ] = False,
    omit_unavailable: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COMPONENT", help="leave this component out if a registry lacks it; repeatable"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Write, or check, runtimes/RUNTIME/lock.json: every artifact by version, size and sha256."""
    context: Context = ctx.obj
    definitions = Definitions(context.root)
    path = definitions.lock_path(runtime)
    asked = asked_for(definitions, runtime)
    if check:
        _check(context, definitions, runtime, asked, registry=registry, as_json=as_json)
        return
    if registry:
        raise UsageError("--registry goes with --check")
    made = _made(context, definitions, asked, tuple(omit_unavailable or ()))
    written = write_if_changed(path, made.to_json())
    result = summary(made) | {"file": definitions.shown(path), "written": written}
    emit(result, _text(result), as_json)


def asked_for(definitions: Definitions, runtime: str) -> LockRequest:
    """Resolve a runtime and return what has to be locked for it."""
    matrix = read_matrix(definitions)
    definition = read_runtime(definitions, runtime, matrix)
    return ask(matrix, definition, resolve(matrix, definition.request))


def _made(
    context: Context, definitions: Definitions, asked: LockRequest, omit: tuple[str, ...]
) -> Lock:
    store, sources = Store(store_root()), host_sources(context.ca_bundle)
    with store.scratch() as scratch, Web(sources) as web:
        return assemble(
            asked,
            inputs=input_digests(definitions.root, asked.runtime),
            recipes=load_recipes(definitions.root / "images"),
            registries=HostRegistries(
                sources=sources, web=web, store=store, scratch=scratch, environ=os.environ
            ),
            omit=omit,
            say=say,
        )


def _check(
    context: Context,
    definitions: Definitions,
    runtime: str,
    asked: LockRequest,
    *,
    registry: bool,
    as_json: bool,
) -> None:
    shown = definitions.shown(definitions.lock_path(runtime))
    locked = read_lock(definitions, runtime)
    stale = stale_inputs(locked, input_digests(definitions.root, runtime))
    stale += stale_versions(locked, asked.present)
    if registry:
        fresh = _made(context, definitions, asked, tuple(o.component for o in locked.omitted))
        stale += stale_artifacts(locked, fresh)
    result = {"runtime": runtime, "file": shown, "digest": locked.digest, "stale": list(stale)}
    if as_json or not stale:
        emit(result, f"{shown} is up to date", as_json)
    if stale:
        raise InvalidLock(
            "the lock is stale",
            where=shown,
            why="; ".join(stale),
            hint=f"write it anew with `mlruntime lock {runtime}`",
        )


def write_if_changed(path: Path, text: str) -> bool:
    """Replace a file in one step, unless it already holds ``text``; return whether it changed."""
    instead = "lock in a folder of yours, with --root"
    with full_disk(path.parent, instead=instead):
        if path.is_file() and path.read_bytes() == text.encode():
            return False
    write_whole(path, text, instead=instead)
    return True


def summary(lock: Lock) -> dict[str, Any]:
    """Return the verb's JSON; sizes in bytes."""
    wheels = [*lock.python, *(a for v in lock.variants for a in v.python)]
    builds = {n.key: n for v in lock.variants for n in v.native}
    sdists = [n.sdist for n in builds.values()]
    tools = {a.sha256: a for n in builds.values() for a in (*n.against, *n.requirements)}
    return {
        "runtime": lock.runtime,
        "digest": lock.digest,
        "components": lock.all_components,
        "omitted": [
            {"component": o.component, "artifact": o.artifact, "why": o.why} for o in lock.omitted
        ],
        "artifacts": {
            "debian": _tally(lock.os),
            "debian to compile with": _tally(lock.toolchain),
            "wheels": _tally(wheels),
            "sdists": _tally(sdists),
            "build requirements": _tally(
                [a for sha, a in tools.items() if sha not in {w.sha256 for w in wheels}]
            ),
            "jars": _tally(lock.jars),
        },
        "native": [{"name": n.name, "version": n.version, "key": n.key} for n in builds.values()],
    }


def _tally(artifacts: list[Artifact] | tuple[Artifact, ...]) -> dict[str, int]:
    return {"count": len(artifacts), "size": sum(a.size for a in artifacts)}


def _text(result: dict[str, Any]) -> str:
    lines = [f"{'artifacts':24} {'files':>5} {'size':>11}"]
    for name, tally in result["artifacts"].items():
        lines.append(f"{name:24} {tally['count']:5} {tally['size'] / 1e6:8.1f} MB")
    lines += [f"built here: {n['name']} {n['version']}  {n['key']}" for n in result["native"]]
    lines += [f"left out: {o['component']}, because {o['why']}" for o in result["omitted"]]
    state = "written" if result["written"] else "unchanged"
    lines.append(f"{result['file']} {state}: {result['digest']}")
    return "\n".join(lines)
