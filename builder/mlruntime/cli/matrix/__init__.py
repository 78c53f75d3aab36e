"""``mlruntime matrix``: the compatibility facts, shown, checked and extended."""

import typer

from mlruntime.cli.matrix.explore import explore
from mlruntime.cli.matrix.outdated import outdated
from mlruntime.cli.matrix.show import check, show


def register(app: typer.Typer) -> None:
    """Add the verbs below ``matrix``."""
    matrix = typer.Typer(
        help="Show, check and extend the compatibility matrix.", no_args_is_help=True
    )
    matrix.command("check")(check)
    matrix.command("show")(show)
    matrix.command("outdated")(outdated)
    matrix.command("explore")(explore)
    app.add_typer(matrix, name="matrix")
