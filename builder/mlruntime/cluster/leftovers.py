"""What runs that were killed have left on an engine: it is removed before something new starts."""

from collections.abc import Callable

from mlruntime.engine import Engine


def remove_left(engine: Engine, say: Callable[[str], None]) -> None:
    """Remove it, and say what it was."""
    for left in engine.sweep():
        say(f"removed {left.kind} {left.name}, left by a run that was killed")
