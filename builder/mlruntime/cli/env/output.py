"""What the verbs of ``mlruntime env`` have in common: their arguments, and how they show one."""

from typing import Any, Final

import typer

from mlruntime.environment.description import Description
from mlruntime.environment.linking import COPY

PATH: Final = typer.Argument(metavar="PATH", help="the environment's directory")
JSON: Final = typer.Option("--json", help="print the result as JSON")


def summary(made: Description) -> dict[str, Any]:
    """Return an environment as the verbs' JSON has it; ``made`` counts files by how they were."""
    return {
        "path": made.path,
        "runtime": made.runtime,
        "variant": made.variant,
        "lock_digest": made.lock,
        "python": made.python,
        "interpreter": made.interpreter,
        "glibc": made.glibc,
        "made": made.made,
    }


def text(made: Description, seconds: float) -> str:
    """Return the same for people, and how long it took."""
    ways = ", ".join(f"{count} files by {way}" for way, count in made.made.items())
    lines = [f"{made.runtime} ({made.variant}) with Python {made.python} in {made.path}"]
    lines.append(f"{ways}, in {seconds:.1f} s")
    if COPY in made.made:
        lines.append("copied: the store is on another file system, or this one has no links")
    return "\n".join(lines)
