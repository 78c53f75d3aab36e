"""What tests run on ranks, and on the driver beside them."""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

# On ranks.


def place() -> Any:
    """Return every rank's place, as Horovod sees it."""
    import horovod.tensorflow as hvd

    began = time.time()
    hvd.init()
    mine = [hvd.rank(), socket.gethostname(), hvd.local_rank(), os.environ["OMP_NUM_THREADS"]]
    everyone = hvd.allgather_object(mine, name="places")
    return {"everyone": sorted(everyone), "began": began, "first": time.time()}


def train(
    epochs: int, name: str, pause: float = 0, hold: int = -1, optimizer: str = "momentum"
) -> Any:
    """Train with checkpoints; every rank says in a shared file where it is.

    The first time, rank 1 waits for its end in the middle of the epoch ``hold``, while the
    others wait for it in an allreduce.
    """
    import horovod.tensorflow.keras as hvd
    import keras
    import numpy as np
    from sparkdl.horovod.tensorflow.keras import CheckpointCallback, LogCallback

    hvd.init()
    random = np.random.default_rng(7)
    x = random.normal(size=(64, 4)).astype("float32")
    y = (x @ random.normal(size=(4, 1))).astype("float32")
    x, y = x[hvd.rank() :: hvd.size()], y[hvd.rank() :: hvd.size()]
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    chosen = {
        "momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9),
        "adam": lambda: keras.optimizers.Adam(0.01),
    }[optimizer]()
    model.compile(hvd.DistributedOptimizer(chosen), loss="mse")
    saver = CheckpointCallback(model)
    notes = Path("/shared") / name
    notes.mkdir(exist_ok=True)

    class Note(keras.callbacks.Callback):
        epoch = 0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            note = {
                "epoch": self.epoch,
                "batch": batch,
                "pid": os.getpid(),
                "keeper": os.getppid(),
                "host": socket.gethostname(),
                "first": saver.first_epoch,
            }
            part = notes / f".{hvd.rank()}"
            part.write_text(json.dumps(note))
            part.replace(notes / str(hvd.rank()))
            held = saver.first_epoch == 0 and (self.epoch, batch) == (hold, 1)
            time.sleep(600 if held and hvd.rank() == 1 else pause)

    model.fit(
        x, y,
        batch_size=max(1, len(x) // 4),
        epochs=epochs,
        initial_epoch=saver.first_epoch,
        shuffle=False,
        verbose=0,
        callbacks=[hvd.callbacks.BroadcastGlobalVariablesCallback(0), saver, LogCallback(), Note()],
    )  # fmt: skip
    weights = [float(one) for array in model.get_weights() for one in array.reshape(-1)]
    return {"size": hvd.size(), "first": saver.first_epoch, "weights": weights}


def uneven(metric: bool) -> Any:
    """Do twice as many steps on rank 1 as on rank 0."""
    import horovod.tensorflow.keras as hvd
    import keras
    import numpy as np

    hvd.init()
    rows = 64 * (1 + hvd.rank())
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), loss="mse")
    callbacks = [hvd.callbacks.MetricAverageCallback()] if metric else []
    x, y = np.ones((rows, 2)), np.ones(rows)
    model.fit(x, y, batch_size=32, epochs=2, verbose=0, callbacks=callbacks)
    return hvd.rank()


def rank() -> str:
    """Return this rank's number without ever joining the others."""
    return os.environ["HOROVOD_RANK"]


def apart() -> None:
    """Train with an optimizer that knows nothing of the other ranks."""
    import horovod.tensorflow.keras as hvd
    import keras
    import numpy as np

    hvd.init()
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    model.fit(np.ones((8, 2)), np.full(8, float(hvd.rank())), verbose=0)


def wait(name: str) -> None:
    """Say that this rank is there, and wait for its end."""
    folder = Path("/shared") / name
    folder.mkdir(exist_ok=True)
    (folder / os.environ["HOROVOD_RANK"]).write_text(json.dumps({"pid": os.getpid()}))
    time.sleep(600)


def fetch(name: str) -> None:
    """Get the last checkpoint from the driver again and again."""
    from sparkdl.horovod import checkpoint

    folder = Path("/shared") / name
    folder.mkdir(exist_ok=True)
    note = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
    (folder / os.environ["HOROVOD_RANK"]).write_text(note)
    while True:
        checkpoint.latest()


def misbehave(how: str) -> Any:
    """End in one of the ways in which a main can end."""
    if how == "raise" and os.environ["HOROVOD_RANK"] == "1":
        raise ValueError("boo")
    if how == "exit" and os.environ["HOROVOD_RANK"] == "1":
        os._exit(3)
    if how == "unpicklable":
        import threading

        return threading.Lock()
    if how == "print":
        line = "x" * 99
        for _ in range(1 << 20):
            print(line)
    time.sleep(0 if how == "print" else 600)
    return how


# On the driver.


# As a user's file has it: what is in `__main__` goes along to the ranks.
FROM_TENSORFLOW = """
from tensorflow import keras

def build():
    return keras.Sequential([keras.layers.Dense(1)])

def main():
    import horovod.tensorflow.keras as hvd

    hvd.init()
    return {"size": hvd.size(), "kind": type(build()).__name__, "version": keras.__version__}
"""


def from_tensorflow() -> Any:
    """Run a main whose helper uses Keras by way of TensorFlow."""
    from sparkdl import HorovodRunner

    names: dict[str, Any] = {"__name__": "__main__"}
    exec(FROM_TENSORFLOW, names)
    return HorovodRunner(np=2).run(names["main"]) | {"here": names["keras"].__version__}


def large(size: int) -> Any:
    """Run a main that carries ``size`` bytes with it."""
    from sparkdl import HorovodRunner

    table = os.urandom(size)

    def main() -> Any:
        return len(table), table[:8].hex()

    began = time.time()
    answer = HorovodRunner(np=2).run(main)
    return {"right": answer == (size, table[:8].hex()), "seconds": time.time() - began}


def large_result(size: int) -> bool:
    """Have rank 0 return more than Spark lets a job return."""
    from sparkdl import HorovodRunner

    table = HorovodRunner(np=2).run(lambda: bytes(range(256)) * (size // 256))
    return bool(table == bytes(range(256)) * (size // 256))


def keep(path: str, size: int) -> None:
    """Write a large checkpoint that a run can be resumed from."""
    import pickle

    Path(path).write_bytes(pickle.dumps(bytes(size)))


def many(count: int, keep_logs: int) -> Any:
    """Run again and again; return how long each took, and what this process holds after some."""
    import threading

    from sparkdl import HorovodRunner

    def main() -> tuple[str, int]:
        import os
        import socket

        return socket.gethostname(), os.getpid()

    def held() -> list[int]:
        return [len(list(Path("/proc/self/fd").iterdir())), threading.active_count()]

    runner = HorovodRunner(np=2).options(log_directory="many-logs", keep_logs=keep_logs)
    seconds, inventory, pids = [], [], []
    for number in range(count):
        began = time.time()
        pids.append(runner.run(main))
        seconds.append(time.time() - began)
        if number in (4, count - 1):
            inventory.append(held())
    return {"seconds": seconds, "held": inventory, "different": len(set(pids))}


def tell(closure: str, output: str, result: str, copies: int) -> bool:
    """Send a word to ranks in all ways there are, and return whether they all arrived."""
    from sparkdl import HorovodRunner

    # Often, so that it is not only there where one packet ends and another begins. In two
    # halves: a word in the arguments of this function would be in the driver's own messages.
    sent = (closure + ".") * copies

    def main(halves: tuple[str, str], count: int) -> str:
        for _ in range(count):
            print(output)
        return ("".join(halves) + ".") * count

    half = len(result) // 2
    answer = HorovodRunner(np=2).run(
        lambda **more: (len(sent), main(**more)), halves=(result[:half], result[half:]), count=50
    )
    return answer == (len(sent), (result + ".") * 50)


def one_by_one(count: int) -> list[str]:
    """Return the host of each of some runs of one rank, the first of which finds nothing warm."""
    from sparkdl import HorovodRunner, _warmth

    def main() -> str:
        import socket

        return socket.gethostname()

    _warmth._places = _warmth.Places()
    return [HorovodRunner(np=1).run(main) for _ in range(count)]


def two_at_once() -> Any:
    """Run two different mains side by side, 2 ranks each."""
    import threading

    from sparkdl import HorovodRunner

    def numbered(number: int) -> Any:
        def main() -> Any:
            import horovod.tensorflow as hvd

            hvd.init()
            return number, hvd.allgather_object((number, hvd.rank()), name="who")

        return HorovodRunner(np=2).run(main)

    results: dict[int, Any] = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: numbered(n)})) for n in (1, 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[1], results[2]]


def cancel() -> None:
    """Do what the button in Spark's web page does."""
    from pyspark import SparkContext

    SparkContext.getOrCreate().cancelAllJobs()


def await_slots(count: int, seconds: float = 90) -> float:
    """Wait until the application has so many task slots."""
    from pyspark import SparkContext
    from sparkdl import _slots

    began = time.time()
    while (found := _slots.slots(SparkContext.getOrCreate())) != count:
        if time.time() - began > seconds:
            raise TimeoutError(f"{found} slots after {seconds} s")
        time.sleep(0.1)
    return time.time() - began


def listening() -> list[str]:
    """Run something that looks at which of the driver's ports are open, and on what address."""
    from sparkdl import HorovodRunner, _attempt

    seen: list[str] = []
    place = _attempt.Attempt._place

    def looking(self: Any) -> None:
        seen.append(self.control._server.getsockname()[0])
        place(self)

    _attempt.Attempt._place = looking
    try:
        HorovodRunner(np=1).run(lambda: None)
    finally:
        _attempt.Attempt._place = place
    return seen


def logs() -> dict[str, int]:
    """Return the files of the newest run's log directory, and their sizes."""
    newest = max(Path("sparkdl-logs").iterdir(), key=lambda one: one.stat().st_mtime)
    return {one.name: one.stat().st_size for one in newest.iterdir()}


def age(seconds: float) -> None:
    """Wait until the application is that old."""
    from pyspark import SparkContext

    born = SparkContext.getOrCreate().startTime / 1000
    time.sleep(max(0.0, born + seconds - time.time()))
