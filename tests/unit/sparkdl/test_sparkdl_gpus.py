"""Which GPUs a rank gets: discovery on a stub of NVML, and how they are shared out."""

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stubs import build_stub
from tests.unit.sparkdl_library import LIBRARY, load

gpus, ranks, rank = load("_gpus"), load("_ranks"), load("_rank")
errors = load("_errors")
SCRIPT = LIBRARY.parent / "rootfs" / "settings" / "opt" / "ml" / "bin" / "discover-gpus"
A100 = "NVIDIA A100,8.0,40960"


def uuid(index: int, piece: int = 0) -> str:
    return f"{'MIG' if piece else 'GPU'}-00000000-0000-0000-0000-{index:010}{piece:02}"


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvml")
    build_stub("nvml.c", "libnvidia-ml.so.1", folder)
    return folder


def discovered(libraries: Path | str, **variables: str) -> tuple[list[str], str]:
    """Run the image's discovery script; return the addresses it prints, and what it says."""
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(LIBRARY)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env={**kept, "LD_LIBRARY_PATH": str(libraries), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["name"] == "gpu"
    return found["addresses"], done.stderr


@pytest.mark.starts
def test_a_host_without_a_driver_has_valid_json_and_no_addresses() -> None:
    assert discovered("/nowhere") == ([], "")


TWO_AND_SLICES = f"{A100};{A100},mig,slice=4864,slice=9856;{A100}"
EVERYTHING = [uuid(0), uuid(1, 1), uuid(1, 2), uuid(2)]


@pytest.mark.starts
@pytest.mark.compiles
@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, EVERYTHING),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, EVERYTHING),
        ({"NVIDIA_VISIBLE_DEVICES": "none"}, []),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, []),
        # Indices of the host have had their effect: what is here is what they left.
        ({"NVIDIA_VISIBLE_DEVICES": "5"}, EVERYTHING),
        ({"NVIDIA_VISIBLE_DEVICES": f"{uuid(2)},{uuid(1, 2)}"}, [uuid(1, 2), uuid(2)]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, [uuid(2), uuid(0)]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, [uuid(1, 1)]),
        ({"CUDA_VISIBLE_DEVICES": "0,9,2"}, [uuid(0)]),
        ({"CUDA_VISIBLE_DEVICES": "0,0,2"}, []),
        ({"CUDA_VISIBLE_DEVICES": "2,9,2"}, [uuid(2)]),
        ({"CUDA_VISIBLE_DEVICES": "+2,0x0"}, [uuid(2), uuid(0)]),
        ({"CUDA_VISIBLE_DEVICES": f"2,{uuid(0)}"}, [uuid(2)]),
        ({"CUDA_VISIBLE_DEVICES": f"{uuid(0)},2"}, [uuid(0)]),
        ({"CUDA_VISIBLE_DEVICES": f" 2,{uuid(0)}"}, [uuid(2)]),
        ({"CUDA_VISIBLE_DEVICES": f" {uuid(0)}"}, []),
        ({"CUDA_VISIBLE_DEVICES": f"{uuid(0)}x,{uuid(2)}"}, [uuid(0), uuid(2)]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-", "STUB_NVML_GPUS": A100}, []),
        ({"CUDA_VISIBLE_DEVICES": f"{uuid(1, 2)},{uuid(0)}"}, [uuid(1, 2), uuid(0)]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-"}, []),
        ({"STUB_NVML_INIT": "9"}, []),
        ({"STUB_NVML_COUNT": "999"}, []),
        ({"STUB_NVML_GPUS": ""}, []),
        ({"STUB_NVML_GPUS": f"{A100},mig"}, []),
        ({"STUB_NVML_GPUS": f"{A100},handle=15;{A100}"}, [uuid(1)]),
        ({"STUB_NVML_GPUS": f"{A100};{A100},uuid=999"}, [uuid(0)]),
        ({"STUB_NVML_GPUS": f"{A100},mig=3"}, [uuid(0)]),
    ],
)
def test_what_the_script_finds(stub: Path, variables: dict[str, str], found: list[str]) -> None:
    addresses, said = discovered(stub, **{"STUB_NVML_GPUS": TWO_AND_SLICES, **variables})
    assert addresses == found
    trouble = any(word in str(variables) for word in ("handle=", "uuid=", "INIT", "COUNT"))
    assert bool(said) is trouble


def test_ranks_of_this_machine_share_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "visible", lambda environ: ("GPU-a", "GPU-b"))
    assert gpus.for_ranks({}, 1) == ("GPU-a",)
    assert gpus.for_ranks({}, 2) == ("GPU-a", "GPU-b")
    with pytest.raises(errors.NotEnoughSlots, match=r"np=-3, but this machine has 2 GPUs"):
        gpus.for_ranks({}, 3)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.15.1")
    assert gpus.for_ranks({}, 3) == ()  # TensorFlow without CUDA


@pytest.mark.starts
@pytest.mark.compiles
def test_a_run_on_this_machine_shares_its_gpus(stub: Path, tmp_path: Path) -> None:
    """In a process of its own: the stub must be in the library path when it starts."""
    program = (
        "import os, sys\n"
        "from sparkdl import HorovodRunner\n"
        "def main():\n"
        "    import os, pathlib\n"
        "    rank, seen = os.environ['HOROVOD_RANK'], os.environ['CUDA_VISIBLE_DEVICES']\n"
        "    pathlib.Path(rank).write_text(seen)\n"
        "HorovodRunner(np=-2).run(main)\n"
    )
    environ = {**os.environ, "LD_LIBRARY_PATH": str(stub), "PYTHONPATH": str(LIBRARY)}
    environ["STUB_NVML_GPUS"] = f"{A100};{A100}"
    command = [sys.executable, "-c", program]
    subprocess.run(command, cwd=tmp_path, env=environ, timeout=60, check=True)
    assert [(tmp_path / str(n)).read_text() for n in range(2)] == [uuid(0), uuid(1)]
    environ["STUB_NVML_GPUS"] = A100
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, timeout=60, stderr=subprocess.PIPE, text=True
    )
    assert "NotEnoughSlots: np=-2, but this machine has 1 GPUs" in done.stderr


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=8))
def test_gpus_follow_their_ranks(hosts: Sequence[str]) -> None:
    placements = ranks.place(hosts)
    given_to = [[f"GPU-{number}"] for number in range(len(hosts))]
    own = ranks.gpus_of(placements, given_to, whole_host=False)
    assert [list(one.gpus) for one in own] == given_to
    assert all(one.own == 0 for one in own)
    shared = ranks.gpus_of(placements, given_to, whole_host=True)
    assert [[one.gpus[one.own]] for one in shared] == given_to
    for placement, one in zip(placements, shared, strict=True):
        assert one.own == placement.local_rank
        assert len(one.gpus) == placement.local_size


def test_one_gpu_for_two_ranks_of_a_host_is_refused() -> None:
    placements = ranks.place(["a", "a"])
    with pytest.raises(errors.UnsuitableCluster, match=r"on a two ranks .* same GPU \(GPU-1\)"):
        ranks.gpus_of(placements, [["GPU-1"], ["GPU-1"]], whole_host=False)
    # On two hosts the same name is two GPUs: an index means nothing beyond its host.
    elsewhere = ranks.place(["a", "b"])
    assert ranks.gpus_of(elsewhere, [["0"], ["0"]], whole_host=True)[1].gpus == ("0",)


class FakeTensorFlow:
    """As much of TensorFlow as chooses devices."""

    def __init__(self, *found: str) -> None:
        self.chosen: Any = None
        self.config = SimpleNamespace(
            list_physical_devices=lambda kind: list(found), set_visible_devices=self._choose
        )

    def _choose(self, device: str, kind: str) -> None:
        self.chosen = device


def test_tensorflow_is_given_the_ranks_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    framework = FakeTensorFlow("first", "second")
    monkeypatch.setitem(sys.modules, "tensorflow", framework)
    rank._use_gpu(1, alone=False)
    assert framework.chosen == "second"


def test_tensorflow_without_the_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a")
    monkeypatch.setitem(sys.modules, "tensorflow", FakeTensorFlow())
    with pytest.raises(RuntimeError, match="was given GPU GPU-a, but TensorFlow finds 0 GPUs"):
        rank._use_gpu(0, alone=True)


def test_what_main_does_not_use_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    rank._use_gpu(0, alone=True)
    assert "tensorflow" not in sys.modules


def test_the_option_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="visible_gpus is 'own' or 'host', not 'all'"):
        load("_options").RunOptions(visible_gpus="all")
