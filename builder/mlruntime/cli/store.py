"""``mlruntime store``: what is kept on this host."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.host import this_host
from mlruntime.cli.output import emit, mb, say
from mlruntime.definitions.files import Definitions
from mlruntime.documents.tables import Table, plain
from mlruntime.ecosystems.native import build as native
from mlruntime.errors import HashMismatch
from mlruntime.store.contents import entries
from mlruntime.store.store import Store
from mlruntime.workflows.locked import find_lock
from mlruntime.workflows.store.storage import Weight, prune, verify, weigh
from mlruntime.workflows.store.stores import store_root
from mlruntime.workflows.store.transfer import export, take_in, unknown_variants
from mlruntime.workflows.store.uses import artifacts_of, native_of

_JSON = typer.Option("--json", help="print the result as JSON")


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    verbs = typer.Typer(
        no_args_is_help=True, help="Manage the store: downloads, compiled wheels, layers."
    )
    verbs.command("list")(list_)
    verbs.command("size")(size)
    verbs.command("verify")(verify_)
    verbs.command("prune")(prune_)
    verbs.command("export")(export_)
    verbs.command("import")(import_)
    app.add_typer(verbs, name="store")


def list_(ctx: typer.Context, as_json: Annotated[bool, _JSON] = False) -> None:
    """Show how much of each locked runtime the store has."""
    context: Context = ctx.obj
    definitions, store = Definitions(context.root), Store(store_root())
    rows: list[dict[str, Any]] = []
    for runtime in definitions.runtimes():
        if not definitions.lock_path(runtime).is_file():
            continue
        lock = find_lock(definitions, runtime)
        artifacts = artifacts_of(lock)
        there = [a for a in artifacts if store.blob(a.sha256) is not None]
        compiled = [w for w in native_of(lock) if native.built(store, w) is not None]
        rows.append(
            {
                "runtime": runtime,
                "lock": lock.digest,
                "files": len(there),
                "of": len(artifacts),
                "size": sum(a.size for a in there),
                "of_size": sum(a.size for a in artifacts),
                "compiled": len(compiled),
            }
        )
    cells = tuple(
        (
            r["runtime"],
            f"{r['files']} of {r['of']}",
            f"{mb(r['size'])} of {mb(r['of_size'])}",
        )
        for r in rows
    )
    columns = ("runtime", "files here", "bytes here")
    table = plain(Table(title=f"Store {store.root}", columns=columns, rows=cells))
    emit({"store": str(store.root), "runtimes": rows}, table, as_json)


def size(as_json: Annotated[bool, _JSON] = False) -> None:
    """Show how much disk space the store uses."""
    store = Store(store_root())
    weights = weigh(entries(store))
    emit(_weights_json(store, weights), _weights(f"Store {store.root}", weights), as_json)


def verify_(as_json: Annotated[bool, _JSON] = False) -> None:
    """Read every file, and remove damaged ones.

    Exits with 5 if there was one.
    """
    store = Store(store_root())
    found = verify(store, say)
    value = {"files": found.count, "size": found.size, "damaged": [e.name for e in found.damaged]}
    if as_json or not found.damaged:
        emit(
            value,
            f"{found.count} files, {mb(found.size)}: all are what they should be",
            as_json,
        )
    if found.damaged:
        raise HashMismatch(
            f"{len(found.damaged)} of {found.count} files were damaged, and have been removed",
            where=str(store.root),
            why="their bytes were not what their names say",
            hint="check the disk; the next build fetches or makes them again",
        )


def prune_(
    ctx: typer.Context,
    days: Annotated[
        float,
        typer.Option(
            metavar="DAYS", min=0, help="keep what images built in the last DAYS days need"
        ),
    ] = 30,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only show what would be removed")
    ] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Remove files that no lock in use needs.

    Locks in use are those below `--root`, and those of images that were built on this host in the
    last DAYS days.
    """
    context: Context = ctx.obj
    store = Store(store_root())
    done = prune(
        Definitions(context.root), store, now=time.time(), days=days, dry_run=dry_run
    )  # fmt: skip
    removed, kept = weigh(done.removed), weigh(done.kept)
    value = {
        "store": str(store.root),
        "removed": [_weight_json(w) for w in removed],
        "kept": [_weight_json(w) for w in kept],
        "dry_run": dry_run,
    }
    title = "Would be removed" if dry_run else "Removed"
    emit(value, f"{_weights(title, removed)}\n\n{_weights('Kept', kept)}", as_json)


def export_(
    ctx: typer.Context,
    locks: Annotated[list[str], typer.Argument(metavar="LOCK…", help="runtimes or lock files")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="a new directory")],
    variant: Annotated[
        list[str] | None,
        typer.Option(metavar="VARIANT", help="cpu or gpu; repeatable (default: all)"),
    ] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Copy everything that locks need into a directory.

    Carry it to a machine without a network, and run `store import` there.
    """
    context: Context = ctx.obj
    definitions, variants = Definitions(context.root), tuple(variant or ())
    found = [find_lock(definitions, named) for named in locks]
    unknown_variants(found, variants)
    done = export(found, variants, ctx.with_resource(this_host(context)), output)
    for name in done.uncompiled:
        say(f"{name} has not been compiled here: the other machine compiles it when it builds")
    value = {"output": str(output), "files": done.files, "size": done.size,
             "uncompiled": list(done.uncompiled)}  # fmt: skip
    emit(value, f"{output}: {done.files} files, {mb(done.size)}", as_json)


def import_(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="what `store export` wrote")],
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Copy an export into the store, and check every byte."""
    done = take_in(directory, Store(store_root()))
    value = {"files": done.files, "known": done.known, "size": done.size, "locks": list(done.locks)}
    text = f"{done.files - done.known} files, {mb(done.size)}, taken in; {done.known} were there"
    emit(value, f"{text} already\nnow `mlruntime build {done.locks[0]}` needs no network"
         if done.locks else text, as_json)  # fmt: skip


def _weights(title: str, weights: Iterable[Weight]) -> str:
    rows = [(w.kind, str(w.count), mb(w.size)) for w in weights]
    total = ("all", str(sum(int(r[1]) for r in rows)), mb(sum(w.size for w in weights)))
    return plain(Table(title=title, columns=("what", "files", "size"), rows=(*rows, total)))


def _weight_json(weight: Weight) -> dict[str, Any]:
    return {"kind": weight.kind, "count": weight.count, "size": weight.size}


def _weights_json(store: Store, weights: tuple[Weight, ...]) -> dict[str, Any]:
    return {
        "store": str(store.root),
        "kinds": [_weight_json(w) for w in weights],
        "size": sum(w.size for w in weights),
    }
