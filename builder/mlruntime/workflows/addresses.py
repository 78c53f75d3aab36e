"""Where the artifacts of a lock are to be had from this host, for tools that want to be told."""

from collections.abc import Iterable
from typing import Final

from mlruntime.ecosystems.registered import ecosystem_of
from mlruntime.errors import ArtifactNotFound
from mlruntime.fetch.locating import Locator, last_seen
from mlruntime.fetch.web import Web
from mlruntime.host.secrets import without_secrets
from mlruntime.host.settings import Sources
from mlruntime.host.tasks import TaskGroup
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact

# As many projects' pages are waited for at a time.
_AT_ONCE: Final = 8


def addresses(
    artifacts: Iterable[Artifact], sources: Sources, web: Web, lock: Lock
) -> dict[str, str]:
    """Return the likeliest address of each artifact by its sha256, without a login.

    Raises ``ArtifactNotFound`` for one that no registry lists, ``HashMismatch`` if each registry
    has another file by its name.
    """
    wanted = tuple(artifacts)
    ecosystems = {ecosystem_of(artifact) for artifact in wanted}
    locators = {one: one.locator(sources, web) for one in ecosystems}
    with last_seen(lock), TaskGroup(_AT_ONCE, web.stop.set, name="addresses") as tasks:
        jobs = [(a, tasks.submit(_one, a, locators[ecosystem_of(a)])) for a in wanted]
        return {artifact.sha256: job.result() for artifact, job in jobs}


def _one(artifact: Artifact, locator: Locator) -> str:
    found = locator.urls(artifact)
    if not found:
        raise ArtifactNotFound(f"{artifact.filename} is in no registry", hint=locator.hint)
    return without_secrets(found[0])
