"""Whether the cluster has a task slot for each rank, and for how long to wait for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparkdl._errors import NotEnoughSlots

if TYPE_CHECKING:
    from pyspark import SparkContext

# Executors of a new application are still registering; those of an old one are as many as
# they will be, give or take one that is being replaced, unless more were promised.
_NEW_APPLICATION_SECONDS = 20.0
_FIRST_EXECUTOR_SECONDS = 60.0
_NEXT_EXECUTOR_SECONDS = 5.0
_SETTLE_SECONDS = 2.0
_LOOK_SECONDS = 0.1
# These start so many executors where the application does not say how many.
_DEFAULT_INSTANCES = {"yarn": 2, "k8s": 2}


def promised(setting: Callable[[str], str | None]) -> int:
    """Return how many executors an application is to have, 0 where nobody can know."""
    master = (setting("spark.master") or "").partition(":")[0]
    return int(setting("spark.executor.instances") or _DEFAULT_INSTANCES.get(master, 0))


@dataclass(kw_only=True, slots=True)
class Patience:
    """Until when to wait for ``np`` slots. Times are of one clock, which it is told.

    ``born``: when the application was started; ``promised``: its executors, for which it waits up
    to ``wait`` seconds.
    """

    np: int
    began: float
    born: float
    promised: int
    wait: float
    most: int = 0
    grown: float = 0.0

    def deadline(self, slots: int, executors: int, now: float) -> float:
        """Return until when the slots may still become enough, by what is there now."""
        if slots > self.most or not self.grown:
            self.most, self.grown = slots, now
        if executors < self.promised:
            return self.began + self.wait
        new = _NEW_APPLICATION_SECONDS if self.most else _FIRST_EXECUTOR_SECONDS
        deadline = max(self.began + _SETTLE_SECONDS, self.born + new)
        if not slots:
            # Nothing at all is no state to judge by: all executors may be being replaced.
            deadline = max(deadline, self.began + _NEW_APPLICATION_SECONDS)
        elif now < self.born + _FIRST_EXECUTOR_SECONDS:
            deadline = max(deadline, self.grown + _NEXT_EXECUTOR_SECONDS)
        return deadline

    def waiting(self, slots: int, executors: int, seconds: float) -> str:
        """Say what is waited for."""
        what = f"{slots} of {self.np} task slots so far"
        if executors < self.promised:
            what += f", and {executors} of {self.promised} executors (spark.executor.instances)"
            return f"{what}: waiting up to {seconds:.0f} s for the others"
        return f"{what}; executors may still be coming: waiting up to {seconds:.0f} s"


def slots(context: "SparkContext") -> int:
    """Return how many tasks the executors that are registered now can run at once."""
    scala = context._jsc.sc()
    profile = scala.resourceProfileManager().defaultResourceProfile()
    return int(scala.maxNumConcurrentTasks(profile))


def _executors(context: "SparkContext") -> int:
    # The driver is one of those that have memory for blocks.
    return int(context._jsc.sc().getExecutorMemoryStatus().size()) - 1


def require_slots(
    context: "SparkContext", np: int, wait: float, say: Callable[[str], None] = print
) -> int:
    """Return the number of slots, or raise ``NotEnoughSlots`` within seconds if under ``np``.

    A new application is given longer, and one whose promised executors are not all there up to
    ``wait`` seconds; both are told.
    """
    began = time.time()
    patience = Patience(
        np=np,
        began=began,
        born=context.startTime / 1000,
        promised=promised(context.getConf().get),
        wait=wait,
    )
    said = False
    while (found := slots(context)) < np:
        now, executors = time.time(), _executors(context)
        deadline = patience.deadline(found, executors, now)
        if now >= deadline:
            raise NotEnoughSlots(_too_few(context, patience, found, executors))
        if not said and now >= began + _SETTLE_SECONDS:
            said = True
            say(f"HorovodRunner: {patience.waiting(found, executors, deadline - now)}")
        time.sleep(_LOOK_SECONDS)
    return found


def _too_few(context: "SparkContext", patience: Patience, found: int, executors: int) -> str:
    """Say what ranks lack, and what can be done about it."""
    np, missing = patience.np, ""
    if executors < patience.promised:
        missing = (
            f" After {patience.wait:g} s {executors} of {patience.promised} executors have come "
            "(spark.executor.instances): see why the others do not, or wait longer with "
            "options(executor_timeout=…)."
        )
    if context.getConf().get("spark.task.resource.gpu.amount"):
        return (
            f"np={np}, but the cluster has {found} task slots with a GPU: every rank needs a GPU "
            f"of its own.{missing} Lower np, or give the application more executors with GPUs; the "
            "workers' logs say which GPUs they have found."
        )
    return (
        f"np={np}, but the cluster has {found} task slots: every rank needs one at the same time."
        f"{missing} Lower np, or give the application more executors or cores."
    )
