"""Whether other work disturbs a benchmark, from the kernel's account of processor time."""

import time
from pathlib import Path

# Of all cores' time before a benchmark, as a share: more by others than this, and it is said.
QUIET = 0.05
WATCHED = 3.0


def disturbance() -> str:
    """Watch the machine for some seconds; return a sentence about other work, or nothing.

    ``/proc/stat`` counts work at lowered priority apart (proc(5)): it takes what is left over.
    """
    before = _ticks()
    time.sleep(WATCHED)
    spent = [b - a for a, b in zip(before, _ticks(), strict=True)]
    user, nice, system = spent[:3]
    whole = sum(spent[:8])
    if (user + system * user / max(user + nice, 1)) / whole > QUIET:
        return f"**The machine was not quiet: {(user + system) / whole:.0%} busy before.**"
    if nice / whole > QUIET:
        return "Other work ran beside it, at the lowest priority."
    return ""


def _ticks() -> list[int]:
    line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    return [int(word) for word in line.split()[1:9]]
