"""Results on stdout, progress on stderr."""

import json
import sys
from typing import Any


def emit(value: Any, text: str, as_json: bool) -> None:
    """Print a verb's result: ``value`` as JSON when asked for, else ``text``."""
    print(json.dumps(value, indent=2, ensure_ascii=False) if as_json else text)


def say(line: str) -> None:
    """Print a line about progress."""
    print(f"mlruntime: {line}", file=sys.stderr, flush=True)
