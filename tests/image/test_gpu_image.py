"""The gpu image on a host without a GPU: it shares what it can, and finds all of CUDA.

TensorFlow links none of CUDA: it opens it once a driver says that there is a GPU. So a stub of
the driver, made here and only mounted, makes it open everything; nothing is run on that.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlruntime.engine import Engine, Mount
from mlruntime.lock.contract import PATH, parse_contract

from tests.conftest import GPU_RUNTIME, Runtime, mlruntime
from tests.stubs import build_stub

pytestmark = [pytest.mark.engine, pytest.mark.extra]

# What the matrix declares to differ; everything else is shared, by digest.
OWN = {
    "cudnn", "cublas", "cusolver", "cusparse", "cufft", "nccl", "cuda", "tensorflow", "horovod",
    "contract", "constraints",
}  # fmt: skip
LIST = "import tensorflow as tf; print('GPUs:', len(tf.config.list_physical_devices('GPU')))"
STUBS = {"LD_LIBRARY_PATH": "/stubs", "STUB_NVML_GPUS": "A,8.0,40960;B,8.0,40960"}


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Mount:
    folder = tmp_path_factory.mktemp("stubs")
    build_stub("cuda.c", "libcuda.so.1", folder)
    build_stub("nvml.c", "libnvidia-ml.so.1", folder)
    folder.chmod(0o755)
    return Mount(source=str(folder), target="/stubs", kind="bind", read_only=True)


def listed(engine: Engine, gpu: Runtime, *mounts: Mount, **environment: str) -> int:
    """Return how many GPUs TensorFlow lists."""
    done = engine.run(
        gpu.image, ["python", "-c", LIST], mounts=mounts, environment=environment, timeout=120
    )
    assert done.exit_code == 0, done.tail
    return int(done.tail.rpartition("GPUs:")[2].split()[0])


def test_every_layer_but_those_declared_is_shared(
    gpu: Runtime, ready: Callable[..., Runtime]
) -> None:
    cpu = {layer["name"]: layer["digest"] for layer in ready(GPU_RUNTIME).built["layers"]}
    own = {layer["name"]: layer["digest"] for layer in gpu.built["layers"]}
    assert {name for name in own if own[name] != cpu.get(name)} == OWN
    assert cpu.keys() - own.keys() == set()
    # And they come first: an engine can only build upon what lies below.
    below = list(cpu)[: list(cpu).index("tensorflow")]
    assert list(own)[: len(below)] == below
    said = mlruntime(gpu.root, "diff", f"{GPU_RUNTIME}:cpu", f"{GPU_RUNTIME}:gpu")
    assert set(said["pull"]["layers"]) == OWN


def test_the_image_says_what_it_asks_of_a_host(engine: Engine, gpu: Runtime) -> None:
    asked = gpu.lock.variant("gpu").contract
    assert asked is not None
    told = engine.run(gpu.image, ["cat", f"/{PATH}"]).tail
    assert parse_contract(told, file="host-contract.json") == asked
    labels = engine.image_config(gpu.image).labels
    assert dict(asked.labels()).items() <= dict(labels).items()


def test_without_a_driver_there_is_no_gpu(engine: Engine, gpu: Runtime) -> None:
    assert listed(engine, gpu) == 0


def test_tensorflow_opens_all_of_cuda(engine: Engine, gpu: Runtime, stubs: Mount) -> None:
    assert listed(engine, gpu, stubs, **STUBS) == 2


@pytest.mark.parametrize("library", ["cudnn", "cusolver", "cufft"])
def test_a_library_taken_away_leaves_no_gpu(
    engine: Engine, gpu: Runtime, stubs: Mount, tmp_path: Path, library: str
) -> None:
    tmp_path.chmod(0o755)
    place = f"/opt/ml/lib/python{gpu.python}/site-packages/nvidia/{library}/lib"
    gone = Mount(source=str(tmp_path), target=place, kind="bind", read_only=True)
    assert listed(engine, gpu, stubs, gone, **STUBS) == 0


def test_no_stub_is_in_the_image(engine: Engine, gpu: Runtime) -> None:
    found = engine.run(gpu.image, ["sh", "-c", "find / -xdev -name 'libcuda.so*' 2>/dev/null"])
    assert found.tail.strip() == ""


def test_the_environment_is_sound(engine: Engine, gpu: Runtime) -> None:
    assert "No broken requirements" in engine.run(gpu.image, ["pip", "check"]).tail
    script = (
        "import json, horovod.tensorflow as h;"
        "print(json.dumps([bool(h.nccl_built()), bool(h.gloo_built()), bool(h.mpi_built())]))"
    )
    said = engine.run(gpu.image, ["python", "-c", script], timeout=120)
    assert json.loads(said.tail.strip().splitlines()[-1]) == [True, True, False]
