"""Which rank each task becomes, worked out from the hosts alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sparkdl._errors import UnsuitableCluster


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpus:
    """The GPUs that a rank sees, and which of them is its own; none on a CPU cluster."""

    gpus: tuple[str, ...]
    own: int


def gpus_of(
    placements: Sequence[Placement], given: Sequence[Sequence[str]], *, whole_host: bool
) -> tuple[Gpus, ...]:
    """Return what each rank sees of the GPUs that were ``given`` to the tasks.

    Its own; or those of all ranks of its host, in the order of their local ranks. Raises
    ``UnsuitableCluster`` when two ranks of a host were given the same one.
    """
    hosts: dict[str, list[str]] = {}
    ranked = sorted(zip(placements, given, strict=True), key=lambda pair: pair[0].rank)
    for placement, addresses in ranked:
        here = hosts.setdefault(placement.host, [])
        if twice := set(here).intersection(addresses):
            raise UnsuitableCluster(
                f"on {placement.host} two ranks were given the same GPU ({', '.join(twice)}): its "
                "workers offer the same GPUs to Spark. Run one worker there, or show each worker "
                "GPUs of its own with CUDA_VISIBLE_DEVICES."
            )
        here.extend(addresses)
    if not whole_host:
        return tuple(Gpus(gpus=tuple(addresses), own=0) for addresses in given)
    return tuple(Gpus(gpus=tuple(hosts[one.host]), own=one.local_rank) for one in placements)
