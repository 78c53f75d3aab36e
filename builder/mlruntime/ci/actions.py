"""The actions that workflows on GitHub use, each pinned to the commit of a release."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An action: ``commit`` is what ``release`` is a tag of."""

    name: str
    release: str
    commit: str

    def __str__(self) -> str:
        return f"{self.name}@{self.commit} # {self.release}"


# Tags of an action move; commits do not. To update one, look up what its new release points to.
ACTIONS: Final = {
    "checkout": Action(
        name="actions/checkout",
        release="v4.2.2",
        commit="11bd71901bbe5b1630ceea73d27597364c9af683",
    ),
    "python": Action(
        name="actions/setup-python",
        release="v5.6.0",
        commit="a26af69be951a213d495a4c3e4e4022e16d87065",
    ),
    "cache": Action(
        name="actions/cache",
        release="v4.2.3",
        commit="5a3ec84eff668545956fd18022155c47e93e2684",
    ),
    "upload": Action(
        name="actions/upload-artifact",
        release="v4.6.2",
        commit="ea165f8d65b6e75b540449e92b4886f43607fa02",
    ),
    "download": Action(
        name="actions/download-artifact",
        release="v4.3.0",
        commit="d3f86a106a0bac45b974a628896c90dbdf5c8093",
    ),
}
