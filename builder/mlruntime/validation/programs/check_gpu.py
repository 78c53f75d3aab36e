"""GPUs: that work is done on them, rightly, and by the ranks that Spark gave them to.

Each check runs as a training does: `HorovodRunner`, one rank for each GPU, every rank a new
process. Whatever fell back to the CPU is a failure: soft placement is off, and every result is
asked where it lies.
"""

import ctypes
import time
from collections.abc import Callable
from typing import Any

from . import check_horovodrunner, training
from .cluster import Cluster
from .harness import Mismatch, Proof

_MIB = 1 << 20
_DRIVER = "libcuda.so.1"
_NVML = "libnvidia-ml.so.1"
_GPU = "GPU:0"
# Square matrices of this many rows: 4 GFLOP for each product, a second on a slow CPU core.
_ROWS = 1280
_BATCH = (16, 64, 64, 16)
_REDUCED = 64 * _MIB


def _ranks(cluster: Cluster, main: Callable[[], Any]) -> list[dict[str, Any]]:
    """Return ``main``'s answer from every rank, in order; there is a rank for each GPU."""
    from sparkdl import HorovodRunner

    def gathered() -> Any:
        import os

        import horovod.tensorflow as hvd

        os.environ["HOROVOD_TIMELINE"] = "DYNAMIC"  # a timeline may be started later
        hvd.init()
        return hvd.allgather_object({"host": _host(), **main()})

    cluster.context  # noqa: B018 - the runner takes the active session
    found: list[dict[str, Any]] = HorovodRunner(np=cluster.slots()).run(gathered)
    if not found:
        raise Mismatch("no rank answered")
    return found


def _host() -> str:
    import socket

    return socket.gethostname()


def _on_gpu_only() -> Any:
    """Return TensorFlow, set up so that an operation a GPU cannot do fails."""
    import tensorflow as tf

    tf.config.set_soft_device_placement(False)
    if not tf.config.list_physical_devices("GPU"):
        raise Mismatch(f"{_host()}: TensorFlow sees no GPU")
    # Numbers are compared with those of a CPU.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    return tf


def _seconds(work: Callable[[], Any]) -> float:
    """Return the best of three, after a first one that compiles and copies."""
    work()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def devices(cluster: Cluster, proof: Proof) -> None:
    """Every rank on every worker sees one GPU, of an architecture that the image covers."""

    def main() -> dict[str, Any]:
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        details = [tf.config.experimental.get_device_details(one) for one in found]
        return {
            "names": [one.get("device_name") for one in details],
            "capabilities": [".".join(map(str, one["compute_capability"])) for one in details],
        }

    answers = _ranks(cluster, main)
    hosts = {answer["host"] for answer in answers}
    proof.equal("workers", sorted(hosts), sorted(cluster.expect.worker_hosts))
    contract = _contract(cluster)
    for rank, answer in enumerate(answers):
        proof.note(f"rank {rank}", answer)
        proof.equal(f"rank {rank}: GPUs", len(answer["names"]), 1)
        capability = answer["capabilities"][0]
        proof.equal(f"rank {rank}: covers {capability}", _covers(contract, capability), True)


def _contract(cluster: Cluster) -> Any:
    if cluster.expect.contract is None:
        raise Mismatch("the lock promises nothing of GPUs")
    return cluster.expect.contract


def _covers(contract: Any, capability: str) -> bool:
    major, minor = (int(number) for number in capability.split("."))
    sass = [tuple(map(int, a.split("."))) for a in contract["architectures"]]
    ptx = [tuple(map(int, a.split("."))) for a in contract["ptx"]]
    return any(a == major and b <= minor for a, b in sass) or any(p <= (major, minor) for p in ptx)


def driver(cluster: Cluster, proof: Proof) -> None:
    """The driver of every host is new enough, and implements a CUDA of the image's major."""

    def main() -> dict[str, Any]:
        cuda, nvml = ctypes.CDLL(_DRIVER), ctypes.CDLL(_NVML)
        version, text = ctypes.c_int(0), ctypes.create_string_buffer(96)
        codes = [
            cuda.cuDriverGetVersion(ctypes.byref(version)),
            nvml.nvmlInit_v2(),
            nvml.nvmlSystemGetDriverVersion(text, ctypes.c_uint(len(text))),
        ]
        return {"codes": codes, "cuda": version.value, "driver": text.value.decode()}

    contract = _contract(cluster)
    minimum = _version(contract["minimum_driver"])
    for rank, answer in enumerate(_ranks(cluster, main)):
        proof.note(f"rank {rank}", answer)
        proof.equal(f"rank {rank}: codes", answer["codes"], [0, 0, 0])
        proof.equal(f"rank {rank}: new enough", _version(answer["driver"]) >= minimum, True)
        major = int(cluster.expect.components["cuda"].split(".")[0])
        proof.equal(f"rank {rank}: CUDA", answer["cuda"] // 1000 >= major, True)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split("."))


def matmul(cluster: Cluster, proof: Proof) -> None:
    """A product of matrices, on the GPU: the CPU's numbers, sooner."""

    def main() -> dict[str, Any]:
        import numpy as np

        tf = _on_gpu_only()
        random = np.random.default_rng(31)
        a, b = (random.normal(size=(_ROWS, _ROWS)).astype("float32") for _ in range(2))
        with tf.device(_GPU):
            x, y = tf.constant(a), tf.constant(b)
            product = x @ y
            gpu = _seconds(lambda: float((x @ y)[0, 0]))
        with tf.device("CPU:0"):
            c, d = tf.constant(a), tf.constant(b)
            cpu = _seconds(lambda: float((c @ d)[0, 0]))
        exact = a[:8].astype("float64") @ b.astype("float64")
        furthest = float(np.abs(product[:8].numpy() - exact).max())
        return {"device": product.device, "furthest": furthest, "faster": cpu / gpu}

    _judge(cluster, proof, main, within=5e-3)


def convolution(cluster: Cluster, proof: Proof) -> None:
    """A convolution by cuDNN, on the GPU: the CPU's numbers, sooner."""

    def main() -> dict[str, Any]:
        import numpy as np

        tf = _on_gpu_only()
        random = np.random.default_rng(32)
        image = random.normal(size=_BATCH).astype("float32")
        kernel = random.normal(size=(3, 3, _BATCH[-1], 64)).astype("float32")

        def work(device: str) -> tuple[Any, float]:
            with tf.device(device):
                x, w = tf.constant(image), tf.constant(kernel)
                seconds = _seconds(lambda: float(tf.nn.conv2d(x, w, 1, "SAME")[0, 0, 0, 0]))
                return tf.nn.conv2d(x, w, 1, "SAME"), seconds

        (on_gpu, gpu), (on_cpu, cpu) = work(_GPU), work("CPU:0")
        furthest = float(np.abs(on_gpu.numpy() - on_cpu.numpy()).max())
        return {"device": on_gpu.device, "furthest": furthest, "faster": cpu / gpu}

    _judge(cluster, proof, main, within=5e-3)


def _judge(
    cluster: Cluster, proof: Proof, main: Callable[[], dict[str, Any]], *, within: float
) -> None:
    for rank, answer in enumerate(_ranks(cluster, main)):
        _placed(proof, rank, answer["device"])
        proof.close(f"rank {rank}: furthest from the CPU", answer["furthest"], 0.0, within=within)
        proof.above(f"rank {rank}: times as fast as the CPU", answer["faster"], 1.0)


def _placed(proof: Proof, rank: int, device: str) -> None:
    proof.equal(f"rank {rank}: device", device.rpartition("device:")[2], _GPU)


def xla(cluster: Cluster, proof: Proof) -> None:
    """A training step compiled by XLA for the GPU, with a known gradient."""

    def main() -> dict[str, Any]:
        import numpy as np

        tf = _on_gpu_only()
        random = np.random.default_rng(33)
        x, y, w = (random.normal(size=s).astype("float32") for s in ((32, 3), (32, 1), (3, 1)))
        with tf.device(_GPU):
            inputs, targets, weights = tf.constant(x), tf.constant(y), tf.constant(w)

            def step(value: Any) -> Any:
                with tf.GradientTape() as tape:
                    tape.watch(value)
                    loss = tf.reduce_mean((inputs @ value - targets) ** 2)
                return tape.gradient(loss, value)

            found = tf.function(step, jit_compile=True, autograph=False)(weights)
        want = 2 / 32 * x.T @ (x @ w - y)
        return {"device": found.device, "got": found.numpy().tolist(), "want": want.tolist()}

    for rank, answer in enumerate(_ranks(cluster, main)):
        _placed(proof, rank, answer["device"])
        proof.close(f"rank {rank}: gradient", answer["got"], answer["want"], within=1e-4)


def mixed_precision(cluster: Cluster, proof: Proof) -> None:
    """Training in half precision ends near training in single precision."""

    def main() -> dict[str, Any]:
        _on_gpu_only()
        keras = training.keras()
        x, y = training.data()

        def trained(policy: str) -> Any:
            keras.mixed_precision.set_global_policy(policy)
            # Not below tf.device: Keras makes a dataset, and no GPU can run that.
            model = training.model(training.start())
            model.compile(keras.optimizers.SGD(training.RATE), loss="mse")
            model.fit(x, y, batch_size=len(x), epochs=training.STEPS, shuffle=False, verbose=0)
            return model

        half = trained("mixed_float16")
        single = trained("float32")
        return {
            "computed": str(half.layers[0].compute_dtype),
            "device": training.variables(half)[0].device,
            "half": check_horovodrunner.flat(half.get_weights()),
            "single": check_horovodrunner.flat(single.get_weights()),
        }

    for rank, answer in enumerate(_ranks(cluster, main)):
        _placed(proof, rank, answer["device"])
        proof.equal(f"rank {rank}: computed in", answer["computed"], "float16")
        proof.close(f"rank {rank}: weights", answer["half"], answer["single"], within=2e-2)


def memory_growth(cluster: Cluster, proof: Proof) -> None:
    """With memory growth, a small tensor does not take the whole GPU."""

    def main() -> dict[str, Any]:
        tf = _on_gpu_only()
        tf.config.experimental.set_memory_growth(tf.config.list_physical_devices("GPU")[0], True)
        with tf.device(_GPU):
            tensor = tf.zeros((16 * _MIB,), tf.float32)
        runtime = ctypes.CDLL("libcudart.so.12")
        free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
        code = runtime.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
        used = tf.config.experimental.get_memory_info(_GPU)["current"]
        return {
            "device": tensor.device,
            "code": code,
            "free": free.value / total.value if total.value else 0.0,
            "used": used / _MIB,
        }

    for rank, answer in enumerate(_ranks(cluster, main)):
        _placed(proof, rank, answer["device"])
        proof.equal(f"rank {rank}: code", answer["code"], 0)
        proof.close(f"rank {rank}: MiB used", answer["used"], 64.0, within=1.0)
        proof.above(f"rank {rank}: part of the memory that is free", answer["free"], 0.5)


def allreduce(cluster: Cluster, proof: Proof) -> None:
    """NCCL sums tensors across ranks on their GPUs; its bandwidth is noted."""

    def main() -> dict[str, Any]:
        import horovod.tensorflow as hvd

        tf = _on_gpu_only()
        with tf.device(_GPU):
            ones = tf.fill((_REDUCED // 4,), float(hvd.rank() + 1))
            total, activities = _traced(lambda: hvd.allreduce(ones, op=hvd.Sum, name="traced"))
            seconds = _seconds(lambda: float(hvd.allreduce(ones, op=hvd.Sum, name="timed")[0]))
        size = hvd.size()
        return {
            "device": total.device,
            "ends": [float(total[0]), float(total[-1])],
            "activities": activities,
            "bytes a second": 2 * (size - 1) / size * _REDUCED / seconds,
        }

    answers = _ranks(cluster, main)
    proof.above("ranks", len(answers), 1)
    want = len(answers) * (len(answers) + 1) / 2
    for rank, answer in enumerate(answers):
        _placed(proof, rank, answer["device"])
        proof.equal(f"rank {rank}: sums", answer["ends"], [want, want])
        proof.note(f"rank {rank}: GB/s on the bus", answer["bytes a second"] / 1e9)
    proof.equal("by NCCL", "NCCL_ALLREDUCE" in answers[0]["activities"], True)


def _traced(work: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Return what ``work`` returns, and what Horovod's timeline says was done meanwhile."""
    import re
    import tempfile
    from pathlib import Path

    import horovod.tensorflow as hvd

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "timeline.json")
        hvd.start_timeline(str(path))
        answer = work()
        hvd.stop_timeline()
        # Only rank 0 writes one, and a thread of its own does.
        deadline = time.monotonic() + 10
        found: list[str] = []
        while hvd.rank() == 0 and not found and time.monotonic() < deadline:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            found = sorted(set(re.findall(r'"name": "([A-Z_]*ALLREDUCE)"', text)))
            time.sleep(0.1)
    return answer, found


def ranks(cluster: Cluster, proof: Proof) -> None:
    """Each rank has one GPU, the one that Spark gave its task, and no two have the same."""

    def main() -> dict[str, Any]:
        import os

        cuda = ctypes.CDLL(_DRIVER)
        count, device, uuid = ctypes.c_int(0), ctypes.c_int(0), (ctypes.c_ubyte * 16)()
        codes = [
            cuda.cuInit(0),
            cuda.cuDeviceGetCount(ctypes.byref(count)),
            cuda.cuDeviceGet(ctypes.byref(device), 0),
            cuda.cuDeviceGetUuid(ctypes.byref(uuid), device),
        ]
        return {
            "codes": codes,
            "count": count.value,
            "uuid": bytes(uuid).hex(),
            "visible": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        }

    answers = _ranks(cluster, main)
    proof.above("ranks", len(answers), 1)
    for rank, answer in enumerate(answers):
        proof.note(f"rank {rank}", answer)
        proof.equal(f"rank {rank}: codes", answer["codes"], [0, 0, 0, 0])
        proof.equal(f"rank {rank}: GPUs", answer["count"], 1)
        proof.equal(f"rank {rank}: named by Spark", len(answer["visible"].split(",")), 1)
    proof.equal("different GPUs", len({a["uuid"] for a in answers}), len(answers))


def equivalence(cluster: Cluster, proof: Proof) -> None:
    """Ranks on GPUs end with one and the same weights: those of the whole batch by hand."""
    from sparkdl import HorovodRunner

    def main() -> dict[str, Any]:
        _on_gpu_only()
        return check_horovodrunner.train(training.STEPS)

    cluster.context  # noqa: B018 - the runner takes the active session
    n = cluster.slots()
    answer = HorovodRunner(np=n).run(main)
    proof.above("ranks", n, 1)
    proof.equal("size", answer["size"], n)
    for rank in range(1, n):
        apart = check_horovodrunner.furthest(answer["ranks"][rank], answer["ranks"][0])
        proof.equal(f"rank {rank} minus rank 0", apart, 0.0)
    want = check_horovodrunner.flat(training.by_hand())
    proof.close("against numpy", answer["ranks"][0], want, within=1e-4)
