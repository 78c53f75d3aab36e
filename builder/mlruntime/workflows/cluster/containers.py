"""Clusters in containers of an engine, for the verbs of ``mlruntime cluster``."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from msgspec import structs

from mlruntime.cluster.class_data import ClassData
from mlruntime.cluster.form import ClusterForm
from mlruntime.cluster.jobs import FinishedJob, Job, OnLine, beside, detach, streamed, submit
from mlruntime.cluster.leftovers import remove_left
from mlruntime.cluster.nodes import Answers, ask_containers
from mlruntime.cluster.notebook import (
    NotebookOptions,
    OpenNotebook,
    open_notebook,
    stop_notebook,
)
from mlruntime.cluster.standing import Standing, addresses, find, standing
from mlruntime.cluster.starting import Phases, down, must_be_free, scale, up
from mlruntime.cluster.status import status_of
from mlruntime.definitions.files import Definitions
from mlruntime.engine import Container, Engine, EngineInfo, ImageInfo
from mlruntime.engine.values import Stream
from mlruntime.errors import UsageError
from mlruntime.store.store import Store
from mlruntime.workflows.cluster.class_data import for_a_cluster
from mlruntime.workflows.cluster.describing import choose, forwarding
from mlruntime.workflows.cluster.fitting import must_have_memory
from mlruntime.workflows.cluster.place import ClusterStatus, ClusterSummary, ReadyCluster

_SCHEMES: Final = {"connect": "sc"}


@dataclass(frozen=True, kw_only=True, slots=True)
class InContainers:
    """A ``ClusterPlace``: a container for each node, on one engine."""

    engine: Engine
    definitions: Definitions
    store: Callable[[], Store]
    say: Callable[[str], None]

    def up(
        self, form: ClusterForm, name: str, *, image: str | None, class_data: bool | None
    ) -> ReadyCluster:
        """Start a cluster; ``image`` is started instead of the form's."""
        form = form if image is None else structs.replace(form, runtime=None, image=image)
        phases = Phases(time.monotonic)
        chosen = choose(self.engine, self.definitions, form)
        remove_left(self.engine, self.say)
        must_be_free(self.engine, name)  # before the image is prepared, which takes a while
        phases.done("image")
        with self._class_data(chosen.image, class_data) as archive:
            phases.done("class data")
            if archive is None and class_data is None:
                self.say(
                    f"JVMs start faster once `mlruntime cluster prepare {_words(form)}` has run"
                )
            started = up(self.engine, chosen.spec, name, class_data=archive, say=self.say)
        reached = _urls(started.addresses)
        self._forward(chosen.engine, started.addresses)
        if form.notebook:
            self.say(f"`mlruntime cluster notebook {name}` prints its address with the token")
        return ReadyCluster(
            name=name,
            runtime=chosen.runtime,
            image=chosen.image.id,
            workers=form.workers,
            master=started.description.master_url,
            pages=reached,
            details={"addresses": reached, "class_data": archive is not None},
            seconds={**phases.seconds, **started.seconds},
        )

    @contextmanager
    def _class_data(self, image: ImageInfo, wanted: bool | None) -> Iterator[ClassData | None]:
        if wanted is False:
            yield None
            return
        with for_a_cluster(self.store(), self.engine, image, self.say, make=bool(wanted)) as found:
            yield found

    def submit(self, name: str, job: Job, on_line: OnLine) -> FinishedJob:
        """Run a program; say so if it was killed for its memory."""
        cluster = self._find(name)
        ended = submit(self.engine, cluster, job, on_line)
        if killed := ended.killed_for_memory(cluster.spec.limit, "container"):
            self.say(killed)
        return ended

    def detach(self, name: str, job: Job) -> str:
        """Start a program."""
        return detach(self.engine, self._find(name), job)

    def shell(self, name: str, argv: Sequence[str], terminal: tuple[int, int]) -> int:
        """Run a program in a container of its own."""
        with beside(self.engine, self._find(name)) as container:
            return container.interact(list(argv), *terminal)

    def notebook(self, name: str, wanted: NotebookOptions) -> OpenNotebook:
        """Return the server in a container, whose port the engine's host publishes."""
        opened = open_notebook(self.engine, self._find(name), wanted)
        reached = {"notebook": urlsplit(opened.address).netloc}
        return replace(opened, forward=forwarding(self.engine.info(), reached))

    def stop_notebook(self, name: str) -> None:
        """Remove the container, with its own volumes."""
        stop_notebook(self.engine, self._find(name))

    def scale(self, name: str, workers: int) -> tuple[str, ...]:
        """Start or end workers; ``UsageError`` for more than the host has memory for."""
        cluster = self._find(name)
        if workers > len(cluster.workers):
            must_have_memory(workers, cluster.spec.limit or 0, self.engine.info())
        numbers = scale(self.engine, cluster, workers, say=self.say)
        return tuple(f"worker-{number}" for number in numbers)

    def status(self, name: str) -> ClusterStatus:
        """Ask the engine, and the master."""
        cluster = self._find(name)
        found = addresses(self.engine, cluster)
        self._forward(self.engine.info(), found)
        return ClusterStatus(status=status_of(self.engine, cluster), addresses=_urls(found))

    def _forward(self, info: EngineInfo, found: Mapping[str, str]) -> None:
        """Say how to reach pages that are on another machine."""
        if command := forwarding(info, found):
            self.say(f"the addresses are those of the engine's host; to have them here: {command}")

    def logs(self, name: str, node: str, *, tail: int) -> tuple[str, tuple[str, ...]]:
        """Return a container's last lines."""
        return node, tuple(self._container(name, node).logs(tail))

    def follow(self, name: str, node: str, *, tail: int) -> Iterator[tuple[Stream, str]]:
        """Yield all that a container has written and will write: ``tail`` is not for it."""
        del tail
        yield from streamed(self._container(name, node))

    def _container(self, name: str, node: str) -> Container:
        cluster = self._find(name)
        known = {**cluster.nodes, **cluster.jobs}
        if node not in known:
            raise UsageError(f"cluster {name} has no {node}", hint=f"it has: {', '.join(known)}")
        return self.engine.container(known[node].id)

    def doctor(self, name: str) -> Answers:
        """Run a program in each container."""
        return ask_containers(self.engine, self._find(name))

    def down(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """Remove clusters, once all of them are found."""
        chosen = tuple(standing(self.engine) if names is None else names)
        for name in chosen:
            self._find(name)
        for name in chosen:
            down(self.engine, name)
        return chosen

    def clusters(self) -> tuple[ClusterSummary, ...]:
        """Return the clusters of the engine."""
        return tuple(_summary(name, self._find(name)) for name in standing(self.engine))

    def _find(self, name: str) -> Standing:
        return find(self.engine, name)


def _summary(name: str, cluster: Standing) -> ClusterSummary:
    down_ = [n for n, thing in cluster.nodes.items() if not thing.running]
    state = "starting" if cluster.mark is None else f"without {down_[0]}" if down_ else "running"
    return ClusterSummary(
        name=name, state=state, workers=len(cluster.workers), jobs=len(cluster.jobs)
    )


def _words(form: ClusterForm) -> str:
    """Return what says to ``prepare`` which image is meant."""
    if form.runtime is None:
        return f"--image {form.image}"
    given = {"variant": form.variant if form.variant != "cpu" else None, "flavour": form.flavour}
    options = (f" --{option} {value}" for option, value in given.items() if value)
    return form.runtime + "".join(options)


def _urls(found: Mapping[str, str]) -> dict[str, str]:
    """Return the address of each service as a URL."""
    return {
        service: f"{_SCHEMES.get(service, 'http')}://{address}"
        for service, address in found.items()
    }
