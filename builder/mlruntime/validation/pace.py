"""By how much the limits of checks are stretched, and why. Core: values only.

The limits suppose two idle cores. A fixed computation (see ``measuring``) says how much longer
things take here and now.
"""

from dataclasses import dataclass
from typing import Final

# What the program takes with two processes on two idle cores (zlib 1.2.13 and 1.3.1).
REFERENCE_SECONDS: Final = 0.42
# A host that is slower than that cannot be told from one that hangs.
MOST: Final = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """By how much the limits of checks are multiplied.

    ``multiplier`` is the user's, ``seconds`` what the fixed computation took (``None``: it was not
    run, or did not end).
    """

    multiplier: float = 1.0
    seconds: float | None = None

    @property
    def slowness(self) -> float:
        """Return how many times as long things take here; never less than 1, nor above ``MOST``."""
        if self.seconds is None:
            return 1.0
        return min(max(round(self.seconds / REFERENCE_SECONDS, 1), 1.0), MOST)

    @property
    def factor(self) -> float:
        """Return what a limit is multiplied by."""
        return self.multiplier * self.slowness

    @property
    def why(self) -> str | None:
        """Return why limits are stretched, or ``None`` when they are not."""
        reasons = [f"--timeout-multiplier {self.multiplier:g}"] if self.multiplier != 1 else []
        if self.slowness > 1:
            reasons.append(
                f"the host is slow or busy: a computation that takes {REFERENCE_SECONDS:g} s on "
                f"two idle cores took {self.seconds:.2g} s"
            )
        return "; ".join(reasons) or None

    def slower(self, seconds: float | None) -> "Pace":
        """Return the pace after another measurement: the slower of the two counts."""
        known = [taken for taken in (self.seconds, seconds) if taken is not None]
        return Pace(multiplier=self.multiplier, seconds=max(known, default=None))
