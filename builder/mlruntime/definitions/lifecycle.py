"""How long a runtime is supported: the dates in ``runtime.yaml``. Core: the day is an argument."""

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from mlruntime.documents.reading import Location
from mlruntime.documents.schema import Day, Form, day

# In the order in which they come; as `runtime.yaml` has them.
_KEYS: Final = ("released", "end-of-support", "end-of-life")


class LifecycleForm(Form, frozen=True):
    """When a runtime was released, and the last days of its support and of its life."""

    released: Day | None = None
    end_of_support: Day | None = None
    end_of_life: Day | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifecycle:
    """A runtime's dates; the two ends are last days: on them it is still supported, still alive.

    Until ``end_of_support`` there are new versions with fixes. Until ``end_of_life`` its versions
    are still there to be pulled, and a problem with one is still looked at.
    """

    released: date | None = None
    end_of_support: date | None = None
    end_of_life: date | None = None

    def warning(self, runtime: str, today: date) -> str | None:
        """Return what who uses a runtime must know today, if its support has ended."""
        if self.end_of_life is not None and today > self.end_of_life:
            return f"{runtime} is at its end of life since {self.end_of_life}: use a newer runtime"
        if self.end_of_support is not None and today > self.end_of_support:
            left = f", and its life ends on {self.end_of_life}" if self.end_of_life else ""
            return (
                f"{runtime} is not supported since {self.end_of_support}: "
                f"it gets no fixes{left}; use a newer runtime"
            )
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: dates as ISO 8601 has them, or null."""
        days = (self.released, self.end_of_support, self.end_of_life)
        return {k: d.isoformat() if d else None for k, d in zip(_KEYS, days, strict=True)}


def lifecycle(form: LifecycleForm, place: Location) -> Lifecycle:
    """Return the dates; raise what is wrong with one: no day of the calendar, or before another."""
    texts = (form.released, form.end_of_support, form.end_of_life)
    days: dict[str, date] = {}
    for key, text in zip(_KEYS, texts, strict=True):
        if text is None:
            continue
        found = day(text, place.get(key))
        for earlier, other in days.items():
            if found < other:
                raise place.get(key).fail(f"{found} is before {earlier}, {other}")
        days[key] = found
    if not days:
        raise place.fail("there is no date", hint=f"one of {', '.join(_KEYS)}, or no `lifecycle:`")
    released, support, life = (days.get(key) for key in _KEYS)
    return Lifecycle(released=released, end_of_support=support, end_of_life=life)
