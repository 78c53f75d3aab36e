"""Whether ranks wait for each other in vain, judged by where each of them stands."""

from collections.abc import Mapping
from dataclasses import dataclass

from sparkdl._errors import RankFailed, RankLost
from sparkdl._standing import Standing

# Cores: with less than this beside a main thread that waits, a rank computes nothing.
_IDLE = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A rank that still runs: its host, and the last it has said of where it stands."""

    host: str
    standing: Standing

    @property
    def waits(self) -> bool:
        """Return whether it does nothing but wait in a call that may need other ranks."""
        found = self.standing
        return found.still > 0 and found.busy < _IDLE and bool(found.within)


def judge(places: Mapping[int, Place], limit: float) -> RankFailed | None:
    """Return the error for a run in which a rank has waited ``limit`` seconds, ``None`` so far.

    A rank that has just begun to wait is given its time too: the others may be about to go on.
    """
    waiting = {rank: one for rank, one in places.items() if one.waits}
    if not any(one.standing.still >= limit for one in waiting.values()):
        return None
    missing = sorted(places.keys() - waiting.keys())
    if missing:
        longest = max(one.standing.still for one in waiting.values())
        text = (
            f"{_ranks(sorted(waiting))} waited {longest:.0f} s in a collective for "
            f"{_ranks(missing)}, which did not call it"
        )
        return RankLost(_told(text, places, limit), rank=missing[0])
    if any(one.standing.still < limit for one in waiting.values()):
        return None
    text = f"all {len(places)} ranks waited {limit:g} s for each other: {_why(places)}"
    return RankFailed(_told(text, places, limit), rank=None)


def _why(places: Mapping[int, Place]) -> str:
    counts = {rank: (one.standing.epoch, one.standing.step) for rank, one in places.items()}
    if len(set(counts.values())) > 1 and None not in {n for one in counts.values() for n in one}:
        return (
            "ranks did different numbers of steps. Give all of them the same number, with "
            "shard.steps or equal_steps of sparkdl.data"
        )
    return "they have called different collectives, or the same ones in another order"


def _told(text: str, places: Mapping[int, Place], limit: float) -> str:
    lines = [f"  rank {rank} on {one.host} {_line(one)}" for rank, one in sorted(places.items())]
    return "\n".join(
        [
            f"{text} (options(stall_timeout={limit:g}) is the longest time allowed). "
            "Where each rank stands:",
            *lines,
        ]
    )


def _line(place: Place) -> str:
    found = place.standing
    if not found.still:
        return f"runs{f': {found.where}' if found.where else ''}"
    steps = "" if found.epoch is None else f" (epoch {found.epoch}, step {found.step or 0})"
    how = "waits" if place.waits else "has not moved" if found.busy < _IDLE else "computes"
    return f"{how} since {found.still:.0f} s{steps}: {found.where}"


def _ranks(ranks: list[int]) -> str:
    words = ", ".join(map(str, ranks))
    return f"ranks {words}" if len(ranks) > 1 else f"rank {words}"
