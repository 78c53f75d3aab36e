"""What a ``LogCallback`` reports, as a line to read."""

from collections.abc import Mapping
from typing import Any

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


def _epoch(metrics: Mapping[str, Any]) -> str:
    return f"epoch {_of(metrics['epoch'], metrics.get('epochs'))}"


def _of(number: int, total: int | None) -> str:
    return f"{number}/{total}" if total else str(number)


def _values(logs: Mapping[str, float | str]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, int | float) else f"{name} {value}"
        for name, value in logs.items()
    )
