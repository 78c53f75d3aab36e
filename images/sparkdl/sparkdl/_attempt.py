"""One attempt of a run, watched from the driver until rank 0's result is there."""

import contextlib
import json
import queue
import signal
import time
from dataclasses import asdict, dataclass
from typing import Any

from sparkdl import _stall
from sparkdl._control import Control, Failed, Joined, Member, Over, Weights
from sparkdl._errors import (
    Failure,
    HorovodRunnerError,
    NotEnoughSlots,
    RankLost,
    RunCancelled,
    first_cause,
    how_it_ended,
    lost,
    returned_early,
)
from sparkdl._launcher import Launcher
from sparkdl._logs import RunLogs
from sparkdl._options import RunOptions
from sparkdl._ranks import gpus_of, place
from sparkdl._weights import Comparison

_TICK_SECONDS = 0.1
_MOMENT_SECONDS = 0.002
# A cause may arrive later than what it did to the other ranks.
_CAUSE_SECONDS = 3.0
_END_SECONDS = 10.0
_WAITING_SECONDS = 3.0
_VERDICT_SECONDS = 1.0
# Reading data before hvd.init() may take a while; a training takes longer.
_ALONE_SECONDS = 180.0


@dataclass
class Attempt:
    """One attempt; ``run`` returns rank 0's pickled result, or raises what ended it."""

    launcher: Launcher
    np: int
    options: RunOptions
    logs: RunLogs
    number: int

    def run(self) -> bytes:
        launcher = self.launcher
        with Control(
            launcher.addresses,
            host=launcher.host,
            port=self.options.driver_port,
            rank_timeout=self.options.rank_timeout,
            listener=self.logs,
        ) as control:
            self.control = control
            self.failures: list[Failure] = []
            self.blame_after: float | None = None
            self.placed, self.placed_at = False, None
            self.began = self.looked = time.monotonic()
            self.first_join: float | None = None
            self.launched: float | None = None
            self.verdict: tuple[float, RankLost] | None = None
            self.said_waiting = self.said_alone = False
            self.weights = Comparison(self.np)
            launcher.start(control.invitation, self.np)
            lost = False
            try:
                return self._watch()
            except RankLost:
                lost = True
                raise
            except KeyboardInterrupt:
                self._await_result()
                raise
            finally:
                if not lost:
                    launcher.remember(list(control.members.values()))
                control.stop()
                launcher.finish(_END_SECONDS)

    def _watch(self) -> bytes:
        busy = False
        while True:
            # More output follows what has just come; tasks end a moment after their ranks.
            wait = _MOMENT_SECONDS if busy or self._all_over() else _TICK_SECONDS
            try:
                while True:
                    self._take(self.control.events.get(timeout=wait))
                    wait = 0
            except queue.Empty:
                pass
            busy = self.logs.show()
            if self._all_over() and (result := self._result()) is not None:
                self._last_remarks()
                return result
            if not self._all_over():
                self._spark_ended()
            self._check_time()

    def _result(self) -> bytes | None:
        """Return rank 0's result once all tasks have ended, and have the logs know of it."""
        result = self.launcher.result()
        if result is not None:
            result = result or next(m.result for m in self.control.members.values() if m.rank == 0)
            self.logs.finished = result
        return result

    def _await_result(self) -> None:
        """Wait for the result if every rank has returned: an interrupt must not cost it."""
        deadline = time.monotonic() + _END_SECONDS
        with contextlib.suppress(HorovodRunnerError):
            while self._all_over() and self._result() is None and time.monotonic() < deadline:
                time.sleep(_TICK_SECONDS)

    def _last_remarks(self) -> None:
        self._warn_of_ranks_alone()
        checked = self.options.check_weights or any(self.weights.counts)
        if self.np > 1 and checked and (remark := self.weights.left()) is not None:
            self.logs.tell(f"WARNING: {remark}")

    def _warn_of_ranks_alone(self, so_far: str = "") -> None:
        """Say so when ranks have not joined each other: each then trains by itself."""
        if self.np > 1 and not self.control.initialised and not self.said_alone:
            self.said_alone = True
            self.logs.tell(
                f"WARNING: main has not called hvd.init() on any rank{so_far}. The {self.np} ranks "
                "do not train together: each runs main by itself, and nothing is averaged. Call "
                "hvd.init() at the beginning of main and use hvd.DistributedOptimizer."
            )

    def _all_over(self) -> bool:
        members = self.control.members
        return len(members) == self.np and all(
            one.over is not None and one.over["result"] for one in members.values()
        )

    def _spark_ended(self) -> None:
        """Raise when the tasks were ended by somebody else, who also cut off what runs in them.

        Spark's word and the end of a connection come in any order: each waits for the other.
        """
        now = time.monotonic()
        try:
            if self.blame_after is None:
                self.launcher.result()
        except RunCancelled:
            raise
        except HorovodRunnerError as error:
            if self.verdict is None:
                # What ranks or their connections have to say is more exact.
                self.verdict = (now + _VERDICT_SECONDS, RankLost(str(error), rank=None))
        if self.verdict is not None and now > self.verdict[0]:
            raise self.verdict[1]

    def _take(self, event: Any) -> None:
        if isinstance(event, Joined):
            self._joined(event.member)
        elif isinstance(event, Failed):
            self._failed(event.failure)
        elif isinstance(event, Weights):
            if (remark := self.weights.add(event.member.rank, event.data)) is not None:
                self.logs.tell(remark)
        elif isinstance(event, Over):
            self._over(event.member)

    def _joined(self, member: Member) -> None:
        self.first_join = self.first_join or time.monotonic()
        self.logs.event(f"task {member.partition} is there, on {member.host}")
        if len(self.control.members) == self.np and not self.placed:
            self._place()

    def _place(self) -> None:
        """Give every task its rank, now that all are there."""
        self.placed, self.placed_at = True, time.monotonic()
        members = [self.control.members[number] for number in range(self.np)]
        hosts = [one.host for one in members]
        placements = place(hosts)
        gpus = gpus_of(
            placements,
            [member.about["gpus"] for member in members],
            whole_host=self.options.visible_gpus == "host",
        )
        for member, placement, seen in zip(members, placements, gpus, strict=True):
            member.rank = placement.rank
            directory = self.logs.checkpoints
            order = {
                "placement": asdict(placement),
                "hosts": hosts,
                **asdict(seen),
                "attempt": self.number,
                "checkpoints": None if directory is None else str(directory),
                "timeline": self.options.timeline,
                "check_weights": self.options.check_weights,
            }
            self.control.tell(member, b"G", json.dumps(order).encode())

    def _failed(self, failure: Failure) -> None:
        self.failures.append(failure)
        self.logs.event(f"rank {failure.rank} failed: {failure.summary}")
        if (cause := first_cause(self.failures)) is not None:
            raise cause.as_error(self.np)
        self._blame_soon()

    def _blame_soon(self) -> None:
        if self.blame_after is None:
            self.blame_after = time.monotonic() + _CAUSE_SECONDS

    def _over(self, member: Member) -> None:
        if member.over is not None:
            if member.over["result"] or any(one.rank == member.rank for one in self.failures):
                return
            raise self._lost(member, how_it_ended(member.over["status"]) + _hint(member))
        if self.verdict is None or self.verdict[1].rank is None:
            error = self._lost(
                member, "was cut off: its Python worker, executor or machine is gone"
            )
            self.verdict = (time.monotonic() + _VERDICT_SECONDS, error)

    def _lost(self, member: Member, how: str) -> RankLost:
        rank = member.rank if member.rank >= 0 else None
        last = "" if rank is None else self.logs.last_words(rank)
        return lost(rank, self.np, member.host, how, last)

    def _check_time(self) -> None:
        now = time.monotonic()
        paused, self.looked = now - self.looked > self.options.rank_timeout / 2, now
        if paused:
            # It is this process that was asleep: nobody else can be blamed for the silence.
            for member in self.control.members.values():
                member.channel.heard = now
            return
        self._check_signs_of_life(now)
        if self.placed_at is not None and now - self.placed_at > _ALONE_SECONDS:
            self._warn_of_ranks_alone(f" in {_ALONE_SECONDS:g} s")
        if self.blame_after is not None and now > self.blame_after:
            self._blame_the_silent()
        if not self.placed:
            self._check_start(now)
        elif self.options.stall_timeout is not None and self.control.initialised:
            self._check_stall(self.options.stall_timeout)

    def _check_stall(self, limit: float) -> None:
        members = self.control.members.values()
        if self.np == 1 or self.blame_after is not None or any(m.over or m.gone for m in members):
            return  # what those that are left wait for will fail, and they with it
        places = {one.rank: _stall.Place(host=one.host, standing=one.standing) for one in members}
        if (error := _stall.judge(places, limit)) is not None:
            raise error

    def _check_signs_of_life(self, now: float) -> None:
        limit = self.options.rank_timeout
        open_ = [m for m in self.control.members.values() if m.over is None and not m.gone]
        silent = [one for one in open_ if now - one.channel.heard > limit]
        if silent:
            self.launcher.shun(silent)
            raise self._lost(silent[0], f"gave no sign of life for {limit:g} s")
        for member in open_:
            if member.stopped is not None and now - member.stopped > limit:
                raise self._lost(
                    member, f"was stopped by a signal and not continued for {limit:g} s"
                )

    def _blame_the_silent(self) -> None:
        """Nobody gave a reason of its own: of those that said nothing one is to blame."""
        returned = [m.rank for m in self.control.members.values() if m.over and m.over["result"]]
        if returned:
            raise returned_early(min(returned), self.failures, self.np)
        reported = {one.rank for one in self.failures}
        quiet = [
            one
            for one in self.control.members.values()
            if one.rank not in reported and one.over is None
        ]
        if len(quiet) == 1:
            raise self._lost(quiet[0], "no longer answers the other ranks")
        # All ranks lost each other, as when a network fails: their own words say it best.
        failure = self.failures[0]
        error = failure.as_error(self.np)
        raise RankLost(error.args[0], rank=failure.rank, traceback=failure.traceback)

    def _check_start(self, now: float) -> None:
        options, there = self.options, len(self.control.members)
        since = self.first_join or self.launched
        if since is None:
            if self.launcher.launched():
                self.launched = now
            elif options.queue_timeout is not None and now - self.began > options.queue_timeout:
                raise NotEnoughSlots(
                    f"np={self.np}, and after {options.queue_timeout:g} s there are not as many "
                    f"free task slots at once: {self.launcher.why_waiting(self.np)}. Run it when "
                    "they are free, lower np, give the application more executors or cores, or "
                    "wait longer with options(queue_timeout=…)."
                )
            elif not self.said_waiting and now - self.began > _WAITING_SECONDS:
                self.said_waiting = True
                self.logs.tell(
                    f"waiting for {self.np} free task slots at once; "
                    f"{self.launcher.why_waiting(self.np)}"
                )
        elif now - since > options.start_timeout:
            missing = sorted(set(range(self.np)) - self.control.members.keys())
            raise lost(
                None, self.np, None,
                f"did not start: after {options.start_timeout:g} s {there} of {self.np} tasks "
                f"have reached the driver, tasks {missing} have not",
            )  # fmt: skip


def _hint(member: Member) -> str:
    """Say what may have killed a rank, where its host shows it."""
    crashed = member.over is not None and member.over["status"] == -signal.SIGSEGV
    if not crashed or member.about.get("resolves", True):
        return ""
    name = member.about["hostname"]
    return (
        f". The host's own name, {name}, does not resolve there, which Horovod may not survive: "
        "add it to /etc/hosts"
    )
