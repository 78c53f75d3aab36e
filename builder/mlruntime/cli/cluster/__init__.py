"""``mlruntime cluster``: Spark clusters in containers or on Kubernetes."""

import typer

from mlruntime.cli.cluster.jobs import shell, submit
from mlruntime.cli.cluster.nodes import doctor, list_, logs, status
from mlruntime.cli.cluster.notebook import notebook
from mlruntime.cli.cluster.render import render
from mlruntime.cli.cluster.up import down, prepare, scale, up


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    verbs = typer.Typer(
        no_args_is_help=True, help="Run Spark clusters in containers or on Kubernetes."
    )
    verbs.command("up")(up)
    verbs.command("prepare")(prepare)
    through = {"allow_interspersed_args": False}
    verbs.command("submit", context_settings=through)(submit)
    verbs.command("shell", context_settings=through)(shell)
    verbs.command("notebook")(notebook)
    verbs.command("status")(status)
    verbs.command("logs")(logs)
    verbs.command("scale")(scale)
    verbs.command("down")(down)
    verbs.command("list")(list_)
    verbs.command("doctor")(doctor)
    verbs.command("render")(render)
    app.add_typer(verbs, name="cluster")
