"""``python -m mlruntime`` is ``mlruntime``."""

from mlruntime.cli import run

run()
