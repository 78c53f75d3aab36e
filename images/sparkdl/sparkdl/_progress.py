"""What a ``LogCallback`` reports, as a line to read."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

Plain: TypeAlias = "float | str | list[Plain]"
_BAR = 24


def metrics_line(rank: int, metrics: Mapping[str, Any]) -> str | None:
    """Return the line for the log, ``None`` for what is only progress."""
    if metrics["event"] in ("begin", "progress"):
        return None
    where = _epoch(metrics)
    if metrics["event"] == "batch":
        where = f"{where}, batch {_of(metrics['batch'], metrics.get('batches'))}"
    seconds = f" ({metrics['seconds']:.1f} s)" if "seconds" in metrics else ""
    return f"[{rank}] {where}{seconds}: {_values(metrics['logs'])}".rstrip(": ")


def progress_line(rank: int, metrics: Mapping[str, Any]) -> str | None:
    """Return the line that a terminal shows until the next one, ``None`` for none."""
    if metrics["event"] == "epoch":
        return None
    if metrics["event"] == "begin":
        return f"[{rank}] {_epoch(metrics)} begins"
    done, total = metrics["batch"], metrics.get("batches")
    bar = ""
    if total:
        filled = min(_BAR, _BAR * done // total)
        bar = f" [{'=' * filled}{' ' * (_BAR - filled)}]"
    return f"[{rank}] {_epoch(metrics)}{bar} {_of(done, total)} {_values(metrics['logs'])}".rstrip()


def plain(value: Any) -> Plain:
    """Return a metric's value as JSON has it: one that is a vector becomes a list."""
    value = value.numpy() if hasattr(value, "numpy") else value
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else str(number)


def _epoch(metrics: Mapping[str, Any]) -> str:
    return f"epoch {_of(metrics['epoch'], metrics.get('epochs'))}"


def _of(number: int, total: int | None) -> str:
    return f"{number}/{total}" if total else str(number)


def _values(logs: Mapping[str, Plain]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in logs.items())


def _short(value: Plain) -> str:
    if isinstance(value, list):
        return f"[{' '.join(map(_short, value))}]"
    return f"{value:.4g}" if isinstance(value, int | float) else value
