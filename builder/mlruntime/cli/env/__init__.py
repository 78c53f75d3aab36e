"""``mlruntime env``: a runtime as a directory on this host, without a container."""

import typer

from mlruntime.cli.env.diff import diff
from mlruntime.cli.env.doctor import doctor
from mlruntime.cli.env.export import export_
from mlruntime.cli.env.manage import (
    activate,
    create,
    kernel,
    list_,
    pack,
    remove,
    repair,
    run,
    shell,
    unpack,
    verify,
)
from mlruntime.cli.env.packages import add, sync


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    verbs = typer.Typer(
        no_args_is_help=True, help="Make and manage environments: runtimes without containers."
    )
    through = {"allow_interspersed_args": False}
    verbs.command("create")(create)
    verbs.command("add")(add)
    verbs.command("sync")(sync)
    verbs.command("run", context_settings=through)(run)
    verbs.command("shell")(shell)
    verbs.command("activate")(activate)
    verbs.command("verify")(verify)
    verbs.command("repair")(repair)
    verbs.command("diff")(diff)
    verbs.command("doctor")(doctor)
    verbs.command("pack")(pack)
    verbs.command("unpack")(unpack)
    verbs.command("export")(export_)
    verbs.command("kernel")(kernel)
    verbs.command("list")(list_)
    verbs.command("remove")(remove)
    app.add_typer(verbs, name="env")
