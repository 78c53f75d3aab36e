"""Which rank each task becomes, worked out from the hosts alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """One rank's place: among all ranks, on its host, and across hosts.

    ``cross_rank`` counts the hosts that have a rank with the same ``local_rank``.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    cross_rank: int
    cross_size: int
    host: str

    def environment(self) -> dict[str, str]:
        """Return the variables in which Horovod's Gloo controller looks for its place."""
        return {
            "HOROVOD_HOSTNAME": self.host,
            "HOROVOD_RANK": str(self.rank),
            "HOROVOD_SIZE": str(self.size),
            "HOROVOD_LOCAL_RANK": str(self.local_rank),
            "HOROVOD_LOCAL_SIZE": str(self.local_size),
            "HOROVOD_CROSS_RANK": str(self.cross_rank),
            "HOROVOD_CROSS_SIZE": str(self.cross_size),
        }


def place(hosts: Sequence[str]) -> tuple[Placement, ...]:
    """Return the placement of each task, given the host each one runs on.

    Ranks of one host are neighbours; hosts come in order of their first task, so task 0 is
    always rank 0. The answer depends on ``hosts`` only: every task computes the same one.
    """
    sizes = Counter(hosts)
    order = list(dict.fromkeys(hosts))
    first = {host: sum(sizes[before] for before in order[:i]) for i, host in enumerate(order)}
    seen: Counter[str] = Counter()
    placements = []
    for host in hosts:
        local_rank = seen[host]
        seen[host] += 1
        peers = [other for other in order if sizes[other] > local_rank]
        placements.append(
            Placement(
                rank=first[host] + local_rank,
                size=len(hosts),
                local_rank=local_rank,
                local_size=sizes[host],
                cross_rank=peers.index(host),
                cross_size=len(peers),
                host=host,
            )
        )
    return tuple(placements)
