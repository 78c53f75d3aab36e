"""``mlruntime release``: versions of a runtime in a registry, and its channels."""

from typing import Any

import typer
from typer.core import TyperGroup

from mlruntime.cli.release import publish
from mlruntime.cli.release.channels import changelog, list_, plan, promote, retire, rollback


class _Group(TyperGroup):
    """``release RUNTIME`` is short for ``release publish RUNTIME``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the name of the command that is meant when none is named."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["publish", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    release = typer.Typer(
        cls=_Group,
        no_args_is_help=True,
        help="Publish validated images as versions of a runtime.\n\n"
        "`release RUNTIME` is short for `release publish RUNTIME`.",
    )
    release.command("publish")(publish.command)
    release.command("plan")(plan)
    release.command("list")(list_)
    release.command("changelog")(changelog)
    release.command("promote")(promote)
    release.command("rollback")(rollback)
    release.command("retire")(retire)
    app.add_typer(release, name="release")
