"""``sparkdl.HorovodRunner``: distributed, equal to training on one machine, seen, and surviving."""

import contextlib
import io
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import training
from .cluster import Cluster
from .harness import Mismatch, Proof

_LINES = 200
_EPOCHS, _KILL_AT = 9, 4
_SEEN_SECONDS = 20.0


def train(
    steps: int,
    momentum: float = 0.0,
    callbacks: Callable[[Any], tuple[list[Any], int]] = lambda model: ([], 0),
) -> dict[str, Any]:
    """Train on this rank's share of the rows; return every rank's weights, to compare them.

    Only rank 0 starts from the given weights: the broadcast has to bring them to the others.
    ``callbacks`` are made from the model, with the epoch to begin with.
    """
    import horovod.tensorflow.keras as hvd
    import keras
    from horovod.tensorflow import broadcast_variables

    hvd.init()
    x, y = training.data()
    x, y = x[hvd.rank() :: hvd.size()], y[hvd.rank() :: hvd.size()]
    start = training.start()
    model = training.model(start if hvd.rank() == 0 else [one * 0 - 3 for one in start])
    optimizer = keras.optimizers.SGD(training.RATE, momentum=momentum)
    optimizer = hvd.DistributedOptimizer(optimizer)
    model.compile(optimizer, loss="mse")
    # Not the callback of that name: it broadcasts after the first step, so the gradients of that
    # step would come from different weights.
    broadcast_variables(training.variables(model), root_rank=0)
    given, first = callbacks(model)
    model.fit(
        x,
        y,
        batch_size=len(x),
        epochs=steps,
        initial_epoch=first,
        shuffle=False,
        verbose=0,
        callbacks=given,
    )
    return {**_gather(model.get_weights()), "first": first}


def _gather(weights: list[Any]) -> dict[str, Any]:
    import socket

    import horovod.tensorflow as hvd
    import tensorflow as tf

    flat = tf.concat([tf.reshape(tf.constant(one), [-1]) for one in weights], axis=0)
    return {
        "size": hvd.size(),
        "ranks": hvd.allgather(flat[None, :], name="check.weights").numpy().tolist(),
        "hosts": hvd.allgather_object(socket.gethostname()),
    }


def flat(weights: list[Any]) -> list[float]:
    """Return all numbers of some arrays in one list."""
    return [float(number) for one in weights for number in one.reshape(-1)]


def equivalence(cluster: Cluster, proof: Proof) -> None:
    """Ranks on every worker end with one and the same weights: those of the whole batch."""
    import keras
    from sparkdl import HorovodRunner

    n = len(cluster.expect.worker_hosts)
    cluster.context  # noqa: B018 - the runner takes the active session
    answer = HorovodRunner(np=n).run(train, steps=training.STEPS)
    proof.equal("size", answer["size"], n)
    proof.equal("hosts", sorted(answer["hosts"]), sorted(cluster.expect.worker_hosts))
    ranks = answer["ranks"]
    for rank in range(1, n):
        proof.equal(f"rank {rank} minus rank 0", furthest(ranks[rank], ranks[0]), 0.0)
    proof.close("against numpy", ranks[0], flat(training.by_hand()), within=1e-5)
    x, y = training.data()
    model = training.model(training.start())
    model.compile(keras.optimizers.SGD(training.RATE), loss="mse")
    model.fit(x, y, batch_size=len(x), epochs=training.STEPS, shuffle=False, verbose=0)
    proof.close("against one process", ranks[0], flat(model.get_weights()), within=1e-5)


def furthest(one: list[float], other: list[float]) -> float:
    """Return the largest difference between two lists of numbers."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def result(cluster: Cluster, proof: Proof) -> None:
    """Rank 0's value comes back, made from what every rank did in its own container."""
    from sparkdl import HorovodRunner

    def main(factor: int, *, note: str) -> dict[str, Any]:
        import os
        import socket

        import horovod.tensorflow as hvd

        hvd.init()
        everyone = hvd.allgather_object((hvd.rank(), socket.gethostname(), factor ** hvd.rank()))
        left = sorted(name for name in os.environ if name.startswith("CHECK_"))
        os.environ["CHECK_LEFT"] = "1"
        return {"rank": hvd.rank(), "everyone": sorted(everyone), "note": note, "left": left}

    n = len(cluster.expect.worker_hosts)
    cluster.context  # noqa: B018 - the runner takes the active session
    for turn in (1, 2):  # the second in the same Python workers
        answer = HorovodRunner(np=n).run(main, factor=3, note=f"turn {turn}")
        proof.equal(f"{turn}.rank", answer["rank"], 0)
        proof.equal(f"{turn}.note", answer["note"], f"turn {turn}")
        everyone = answer["everyone"]
        hosts = [host for _, host, _ in everyone]
        proof.equal(f"{turn}.hosts", sorted(hosts), sorted(cluster.expect.worker_hosts))
        values = [[rank, value] for rank, _, value in everyone]
        proof.equal(f"{turn}.values", values, [[rank, 3**rank] for rank in range(n)])
        proof.equal(f"{turn}.left in the environment", answer["left"], [])


def local(cluster: Cluster, proof: Proof) -> None:
    """``np=-2``: two new processes on the driver's host."""
    import os
    import socket

    from sparkdl import HorovodRunner

    def main(base: int) -> dict[str, Any]:
        import horovod.tensorflow as hvd

        hvd.init()
        here = (socket.gethostname(), os.getpid(), base + hvd.local_rank())
        return {"size": hvd.local_size(), "everyone": hvd.allgather_object(here)}

    answer = HorovodRunner(np=-2).run(main, base=40)
    proof.equal("local size", answer["size"], 2)
    hosts, pids, values = zip(*answer["everyone"], strict=True)
    proof.equal("hosts", hosts, [socket.gethostname()] * 2)
    proof.equal("processes", len({*pids, os.getpid()}), 3)
    proof.equal("values", values, [40, 41])


def slots(cluster: Cluster, proof: Proof) -> None:
    """One rank too many is refused within seconds, and the message says how many fit."""
    from sparkdl import HorovodRunner

    n = len(cluster.expect.worker_hosts)
    proof.equal("slots", (cluster.context, cluster.slots())[1], n)
    start = time.monotonic()
    try:
        HorovodRunner(np=n + 1).run(lambda: None)
    except RuntimeError as refusal:
        message = str(refusal)
    else:
        raise Mismatch(f"np={n + 1} ran on {n} slots")
    proof.below("seconds", time.monotonic() - start, 25 * cluster.expect.time_factor)
    proof.equal("says how many", f"{n} task slots" in message, True)


class Screen(io.StringIO):
    """What the driver shows; it makes a file as soon as that has all of the given texts in it."""

    def __init__(self, texts: tuple[str, ...], flag: Path) -> None:
        super().__init__()
        self._texts, self._flag = texts, flag

    def write(self, text: str) -> int:
        """Take what is printed."""
        written = super().write(text)
        if all(one in self.getvalue() for one in self._texts):
            self._flag.touch()
        return written


@contextlib.contextmanager
def _watched(cluster: Cluster, *texts: str) -> Iterator[tuple[Screen, Path, Path]]:
    """Yield what the driver prints, a folder that all nodes see, and one for logs.

    The shared one gets the file ``seen`` once all ``texts`` have been printed.
    """
    with tempfile.TemporaryDirectory(dir=cluster.expect.shared) as shared:
        screen = Screen(texts, Path(shared, "seen"))
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(screen):
            yield screen, Path(shared), Path(folder)


def _only(folder: Path) -> Path:
    (run,) = folder.iterdir()
    return run


def logs(cluster: Cluster, proof: Proof) -> None:
    """Every rank's lines are shown while it still runs, with its number, and kept as written."""
    from sparkdl import HorovodRunner

    def main(lines: int, flag: str, seconds: float) -> list[bool]:
        import os
        import sys
        import time
        from pathlib import Path

        import horovod.tensorflow as hvd

        hvd.init()
        for number in range(lines):
            print(f"{number} squared by rank {hvd.rank()} is {number**2}")
        os.write(2, b"written past Python\n")
        print(f"rank {hvd.rank()} waits to be seen", file=sys.stderr)
        deadline = time.monotonic() + seconds
        while not (seen := Path(flag).exists()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return hvd.allgather_object(seen)

    n = len(cluster.expect.worker_hosts)
    cluster.context  # noqa: B018 - the runner takes the active session
    last = [f"[{rank}] rank {rank} waits to be seen\n" for rank in range(n)]
    with _watched(cluster, *last) as (screen, shared, folder):
        runner = HorovodRunner(np=n, driver_log_verbosity="all").options(log_directory=folder)
        seconds = _SEEN_SECONDS * cluster.expect.time_factor
        seen = runner.run(main, lines=_LINES, flag=str(shared / "seen"), seconds=seconds)
        shown = screen.getvalue().splitlines()
        files = {path.name: path.read_text() for path in _only(folder).glob("rank-*")}
    proof.equal("seen while running", seen, [True] * n)
    proof.equal("files", sorted(files), sorted(f"rank-{rank}.log" for rank in range(n)))
    kept = [files[f"rank-{rank}.log"].splitlines() for rank in range(n)]
    for rank in range(n):
        want = [f"{number} squared by rank {rank} is {number**2}" for number in range(_LINES)]
        want += ["written past Python", f"rank {rank} waits to be seen"]
        mine = [line.removeprefix(f"[{rank}] ") for line in shown if line.startswith(f"[{rank}] ")]
        # Output of the frameworks comes between these lines and is shown in the same way.
        proof.equal(f"rank {rank} kept", [line for line in kept[rank] if line in want], want)
        proof.equal(f"rank {rank} shown as kept", mine, kept[rank])


def log_callback(cluster: Cluster, proof: Proof) -> None:
    """LogCallback's losses on the driver are those that numpy finds; nothing else is shown."""
    from sparkdl import HorovodRunner

    def main(epochs: int) -> dict[str, Any]:
        def callbacks(_model: Any) -> tuple[list[Any], int]:
            import horovod.tensorflow as hvd
            from sparkdl.horovod import log_to_driver
            from sparkdl.horovod.tensorflow.keras import LogCallback

            print("this is not for the driver")
            log_to_driver(f"rank {hvd.rank()} sends {7 ** hvd.rank()}")
            return [LogCallback(per_batch_log=True)], 0

        return train(epochs, callbacks=callbacks)

    n = len(cluster.expect.worker_hosts)
    cluster.context  # noqa: B018 - the runner takes the active session
    with _watched(cluster) as (screen, _, folder):
        HorovodRunner(np=n).options(log_directory=folder).run(main, epochs=_EPOCHS)
        kept = (_only(folder) / "metrics.jsonl").read_text().splitlines()
        shown = screen.getvalue().splitlines()
    messages = [f"[{rank}] rank {rank} sends {7**rank}" for rank in range(n)]
    proof.equal("messages", sorted(line for line in shown if line in messages), messages)
    want = [_loss_of_rank_0(steps, n) for steps in range(_EPOCHS)]
    reports = [json.loads(line) for line in kept]
    for event, pattern in (
        ("epoch", rf"\[0\] epoch (\d+)/{_EPOCHS} \(.* s\): loss (\S+)"),
        ("batch", rf"\[0\] epoch (\d+)/{_EPOCHS}, batch 1/1: loss (\S+)"),
    ):
        mine = [one for one in reports if one["event"] == event]
        proof.equal(f"{event}: kept", [one["epoch"] for one in mine], [*range(1, _EPOCHS + 1)])
        proof.close(f"{event}: loss", [one["logs"]["loss"] for one in mine], want, within=1e-5)
        lines = [found for line in shown if (found := re.fullmatch(pattern, line))]
        proof.equal(f"{event}: shown", [int(f[1]) for f in lines], [*range(1, _EPOCHS + 1)])
        # Lines for people have four digits.
        losses = [float(found[2]) for found in lines]
        proof.close(f"{event}: shown loss", losses, want, within=1e-3 * max(want))
    others = [line for line in shown if not line.startswith("HorovodRunner: ")]
    proof.equal("lines", len(others), n + 2 * _EPOCHS)


def _loss_of_rank_0(steps: int, size: int) -> float:
    """Return the loss on rank 0's rows after so many steps of all ranks, by numpy."""
    import numpy as np

    w1, b1, w2, b2 = training.by_hand(steps)
    x, y = training.data()
    x, y = x[0::size], y[0::size]
    return float(((np.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2).mean())


def recovery(cluster: Cluster, proof: Proof) -> None:
    """A rank is killed: the run goes on from its last checkpoint, to the undisturbed result."""
    from sparkdl import HorovodRunner

    def main(kill_at: int, killed: str) -> dict[str, Any]:
        def callbacks(model: Any) -> tuple[list[Any], int]:
            import os
            import signal
            from pathlib import Path

            import horovod.tensorflow as hvd
            import keras
            from sparkdl.horovod.tensorflow.keras import CheckpointCallback

            saver = CheckpointCallback(model)

            class Fate(keras.callbacks.Callback):
                def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                    self.begun = getattr(self, "begun", saver.first_epoch) + 1
                    if self.begun != kill_at + 1 or Path(killed).exists():
                        return
                    hvd.allgather_object("rank 0 has saved", name="saved")
                    if hvd.rank() == hvd.size() - 1:
                        Path(killed).touch()
                        os.kill(os.getpid(), signal.SIGKILL)

            return [saver, Fate()], saver.first_epoch

        return train(_EPOCHS, momentum=0.9, callbacks=callbacks)

    n = len(cluster.expect.worker_hosts)
    cluster.context  # noqa: B018 - the runner takes the active session
    with _watched(cluster) as (screen, shared, folder):
        runner = HorovodRunner(np=n).options(log_directory=folder, max_restarts=1)
        killed = str(shared / "killed")
        undisturbed = runner.run(main, kill_at=_EPOCHS, killed=killed)
        survivor = runner.run(main, kill_at=_KILL_AT, killed=killed)
        said = screen.getvalue()
    told = re.search(r"rank (\d+) of \d+ .*SIGKILL.*; starting again \(1 of 1\)", said)
    proof.equal("lost rank", told and int(told[1]), n - 1)
    proof.equal("undisturbed from", undisturbed["first"], 0)
    proof.equal("went on from", survivor["first"], _KILL_AT)
    proof.equal("size", survivor["size"], n)
    for rank in range(n):
        # Momentum: the optimizer's state had to come back as well.
        one, other = survivor["ranks"][rank], undisturbed["ranks"][rank]
        proof.close(f"rank {rank} against undisturbed", one, other, within=1e-6)
    away = furthest(undisturbed["ranks"][0], flat(training.start()))
    proof.above("away from the start", away, 0.05)
