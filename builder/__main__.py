"""``python -m builder`` is ``mlruntime``."""

from builder.cli import run

run()
