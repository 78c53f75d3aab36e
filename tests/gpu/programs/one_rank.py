"""The checks of the family `gpu` with one rank and without Spark, in the Python of a gpu image.

    docker run --rm --gpus all -v "$PWD:/src:ro" mlruntime/7.0-ml:gpu \
        python /src/tests/gpu/programs/one_rank.py /src/runtimes/7.0-ml/lock.json [CHECK…]

`validate --variant gpu` runs them on a cluster; this needs only a GPU. Prints a line of JSON for
each check, then which libraries a rank had loaded; exits with 7 if a check failed.
"""

import json
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parents[3] / "builder" / "mlruntime" / "validation"
# Those that ask for a second rank are left out: `ranks`, `allreduce` and `equivalence`.
CHECKS = (
    "driver",
    "devices",
    "matmul",
    "convolution",
    "xla",
    "mixed_precision",
    "memory_growth",
)
sys.path.insert(0, str(PROGRAMS))


class OneRank:
    """Stands for a cluster of this machine alone, with one rank in a process of its own."""

    context = None

    def __init__(self, lock: dict[str, Any]) -> None:
        from programs.harness import Expectation

        gpu = lock["variants"]["gpu"]
        self.expect = Expectation(
            master="local",
            workers=1,
            worker_hosts=(socket.gethostname(),),
            driver_host="localhost",
            python_packages={},
            components={**lock["components"], **gpu["components"]},
            java="",
            image=None,
            node_images={},
            shared="/tmp",
            contract={
                name.replace("-", "_"): value for name, value in gpu["host-contract"].items()
            },
        )

    def slots(self) -> int:
        """Return what `HorovodRunner` takes as one rank on this machine."""
        return -1


def reduced() -> dict[str, Any]:
    """Reduce, gather, broadcast and fit on the GPU; runs in the rank."""
    import horovod.tensorflow.keras as hvd
    import keras
    import numpy as np
    import tensorflow as tf
    from horovod.tensorflow import Sum, allgather, allreduce, alltoall, broadcast

    hvd.init()
    with tf.device("GPU:0"):
        ones = tf.ones((4, 2))
        answers = [allreduce(ones, op=Sum), allgather(ones), broadcast(ones, 0), alltoall(ones)]
    x = np.random.default_rng(0).normal(size=(4096, 64)).astype("float32")
    model = keras.Sequential([keras.layers.Dense(8), keras.layers.Dense(1)])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.Adam(0.01)), "mse")
    losses = model.fit(x, x[:, :1], epochs=3, batch_size=256, verbose=0).history["loss"]
    maps = Path("/proc/self/maps").read_text().split()
    return {
        "devices": [one.device for one in answers],
        "equal": [bool(tf.reduce_all(one == 1.0)) for one in answers],
        "losses": losses,
        "loaded": sorted({p for p in maps if re.search(r"/lib(cu|nccl|nv|tensorflow)", p)}),
    }


def told(name: str, work: Callable[[], dict[str, Any]]) -> bool:
    """Run one check and print how it ended."""
    try:
        result: dict[str, Any] = {"status": "passed", "detail": work()}
    except Exception as error:
        result = {"status": "failed", "message": f"{type(error).__name__}: {error}"[:2000]}
    print(json.dumps({"check": name, **result}), flush=True)
    return result["status"] == "passed"


def main(lock: str, *names: str) -> int:
    """Run these checks, or all."""
    import cloudpickle
    import programs
    from programs import check_gpu
    from programs.harness import Proof
    from sparkdl import HorovodRunner

    cloudpickle.register_pickle_by_value(programs)
    cluster = OneRank(json.loads(Path(lock).read_text(encoding="utf-8")))

    def checked(name: str) -> dict[str, Any]:
        proof = Proof()
        getattr(check_gpu, name)(cluster, proof)
        return dict(proof.detail)

    good = [told(name, lambda name=name: checked(name)) for name in names or CHECKS]
    if not names:
        good.append(told("reduced", lambda: HorovodRunner(np=-1).run(reduced)))
    return 0 if all(good) else 7


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
