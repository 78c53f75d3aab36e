"""``mlruntime env diff``: what differs between two environments, or an environment and an image."""

from pathlib import Path
from typing import Annotated

import typer

from mlruntime.cli.env.output import JSON
from mlruntime.cli.output import emit
from mlruntime.definitions.files import Definitions
from mlruntime.documents.tables import plain
from mlruntime.environment.inventory import Inventory, compared
from mlruntime.host.nvml import read_gpus
from mlruntime.host.system import System
from mlruntime.image.difference_tables import changes_json, changes_table, packages_json
from mlruntime.store.store import Store
from mlruntime.workflows.comparing import host_properties, inventory
from mlruntime.workflows.store.stores import store_root


def diff(
    ctx: typer.Context,
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="an environment, an OCI layout, what `env export --format inventory` wrote, a"
            " lock file, or RUNTIME[:VARIANT[-FLAVOUR]]",
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="the other side, in the same form")],
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Compare two environments, or an environment and an image."""
    definitions, store = Definitions(ctx.obj.root), Store(store_root())
    host = host_properties(System.here(), read_gpus())
    before, after = (inventory(definitions, store, named, host) for named in (a, b))
    found = compared(before, after)
    groups = {"host": found.host, "components": found.components, **found.packages}
    tables = [changes_table(name, changes, (a, b)) for name, changes in groups.items()]
    value = {
        "a": _side(a, before),
        "b": _side(b, after),
        "host": changes_json(found.host),
        "components": changes_json(found.components),
        "packages": packages_json(found.packages),
    }
    text = "\n\n".join(plain(table) if table.rows else table.title for table in tables)
    emit(value, text, as_json)


def _side(name: str, one: Inventory) -> dict[str, str]:
    return {
        "name": str(Path(name)) if Path(name).exists() else name,
        "runtime": one.runtime,
        "variant": one.variant,
        "flavour": one.flavour,
        "lock_digest": one.lock,
    }
