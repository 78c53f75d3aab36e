"""The library that goes into the image, importable by tests that need no image."""

import importlib
import sys
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).parents[2] / "images" / "sparkdl"


def load(name: str = "") -> Any:
    """Import a module of ``sparkdl`` from the checkout."""
    if str(LIBRARY) not in sys.path:
        sys.path.insert(0, str(LIBRARY))
    return importlib.import_module(f"sparkdl.{name}" if name else "sparkdl")
