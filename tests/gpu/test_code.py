"""Which GPUs a library has code for: our reader against NVIDIA's ``cuobjdump``."""

import shutil
import site
import sys
from pathlib import Path

import pytest
from mlruntime.validation.programs.fatbin import architectures

from tests.gpu.nvidia import cuobjdump

pytestmark = pytest.mark.gpu

# cuFFT stores its kernels in a format of its own (docs/gpu.md).
_LIBRARIES = ("libnccl.so.*", "libcublas.so.*", "libcurand.so.*", "libcusparse.so.*",
              "libcudnn_ops.so.*", "libcusolver.so.*")  # fmt: skip


def libraries() -> list[Path]:
    """NVIDIA's wheels in this Python, as far as they are there."""
    places = [Path(one) / "nvidia" for one in (*site.getsitepackages(), *sys.path) if one]
    found = {one.name: one for place in places for each in _LIBRARIES for one in place.rglob(each)}
    return sorted(found.values())


def test_the_reader_agrees_with_cuobjdump() -> None:
    if shutil.which("cuobjdump") is None:
        pytest.skip("cuobjdump is not installed (CUDA's toolkit has it)")
    paths = libraries()
    if not paths:
        pytest.skip("no wheel of NVIDIA's is installed in this Python")
    read = {path.name: architectures(path) for path in paths}
    judged = {path.name: cuobjdump(path) for path in paths}
    assert {name: (set(one.sass), set(one.ptx)) for name, one in read.items()} == judged
