"""``mlruntime doctor`` on hosts with all kinds of GPUs: the real command, on a stub of NVML."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from mlruntime.documents.oci import CONFIG_TYPE, Document
from mlruntime.image import oci

from tests.stubs import build_stub
from tests.unit.lock.test_contract import CONTRACT

pytestmark = [pytest.mark.starts, pytest.mark.compiles]

CHECKOUT = Path(__file__).parents[3]
A100 = "NVIDIA A100,8.0,40960"
UUID = "GPU-00000000-0000-0000-0000-{:010}{:02}"


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvml")
    build_stub("nvml.c", "libnvidia-ml.so.1", folder)
    return folder


@pytest.fixture(scope="module")
def host(stub: Path) -> Iterator["Host"]:
    command = [sys.executable, "-m", "tests.unit.command_server"]
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=environment(stub), stdin=PIPE, stdout=PIPE, text=True
    ) as process:
        yield Host(process)
        process.stdin.close()  # type: ignore[union-attr]


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    file = tmp_path / "host-contract.json"
    file.write_text(CONTRACT.to_json())
    return file


def environment(libraries: Path | str) -> dict[str, str]:
    # No engine is asked: what is tried here is independent of it.
    return {**os.environ, "LD_LIBRARY_PATH": str(libraries), "DOCKER_HOST": "unix:///nowhere"}


@dataclass
class Host:
    """A process with the stub in its library path, which runs the command line."""

    process: "subprocess.Popen[str]"

    def doctor(self, *words: object, code: int, **variables: str) -> str:
        """Run the command on a host as ``variables`` describe it."""
        question = {
            "words": ["doctor", *map(str, words)],
            "variables": {f"STUB_NVML_{name}": value for name, value in variables.items()},
        }
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        done = json.loads(self.process.stdout.readline())
        assert done["code"] == code, done
        return str(done["out"] or done["err"])


def answer(host: Host, contract: Path, *, code: int, **variables: str) -> dict[str, Any]:
    told = json.loads(host.doctor("--contract", contract, "--json", code=code, **variables))
    runs: dict[str, Any] = told["runs"]
    assert runs["able"] is (code == 0)
    return runs


def refusals(runs: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["about"], one["what"]) for one in runs["verdicts"] if not one["able"]]


@pytest.mark.parametrize(("driver", "code"), [(False, 6), (True, 0)])
def test_the_command_itself_without_and_with_a_driver(
    stub: Path, contract: Path, driver: bool, code: int
) -> None:
    command = [sys.executable, "-m", "mlruntime", "doctor", "--contract", str(contract), "--json"]
    variables = environment(stub if driver else "/nowhere") | {"STUB_NVML_GPUS": A100}
    done = subprocess.run(command, cwd=CHECKOUT, env=variables, stdout=PIPE, timeout=60)
    assert done.returncode == code
    runs = json.loads(done.stdout)["runs"]
    assert refusals(runs) == ([] if driver else [("GPUs", "no NVIDIA driver answers")])
    assert runs["contract"] == CONTRACT.to_dict()


def test_a_driver_that_is_not_loaded(host: Host, contract: Path) -> None:
    (verdict,) = answer(host, contract, code=6, INIT="9", GPUS=A100)["verdicts"]
    assert verdict["why"] == "Driver Not Loaded"


def test_an_old_driver(host: Host, contract: Path) -> None:
    runs = answer(host, contract, code=6, DRIVER="470.57.02", CUDA="11040", GPUS=A100)
    assert refusals(runs) == [("driver", "470.57.02 is too old")]
    assert "525 branch" in runs["verdicts"][0]["hint"]


def test_two_gpus(host: Host, contract: Path) -> None:
    runs = answer(host, contract, code=0, GPUS=f"{A100};{A100}")
    assert refusals(runs) == []
    assert runs["devices"] == [UUID.format(0, 0), UUID.format(1, 0)]


def test_slices(host: Host, contract: Path) -> None:
    runs = answer(host, contract, code=0, GPUS=f"{A100},mig,slice=4864,slice=2048")
    assert runs["devices"] == [UUID.format(0, 1).replace("GPU", "MIG")]
    (small,) = refusals(runs)
    assert small[1] == "has too little memory: 2048 MiB"
    assert any("NCCL" in (one["hint"] or "") for one in runs["verdicts"])


def test_mig_mode_without_a_slice(host: Host, contract: Path) -> None:
    runs = answer(host, contract, code=6, GPUS=f"{A100},mig")
    assert "it is in MIG mode and has no slice" in runs["verdicts"][1]["why"]


def test_an_architecture_that_is_too_old(host: Host, contract: Path) -> None:
    runs = answer(host, contract, code=6, GPUS="Tesla K80,3.7,12288")
    ((about, what),) = refusals(runs)
    assert about == "GPU 0 (Tesla K80)"
    assert "of an architecture that the image was not made for" in what


@pytest.mark.parametrize(("cuda", "code"), [("12040", 6), ("12050", 0), ("13000", 0)])
def test_a_newer_architecture(host: Host, contract: Path, cuda: str, code: int) -> None:
    runs = answer(host, contract, code=code, CUDA=cuda, GPUS="NVIDIA B200,10.0,184320")
    assert bool(refusals(runs)) is bool(code)


@pytest.mark.parametrize("query", ["handle", "uuid", "name", "memory", "capability", "mig"])
@pytest.mark.parametrize("error", [15, 6, 999], ids=["lost", "not found", "unknown"])
def test_a_gpu_that_vanishes_while_it_is_read(
    host: Host, contract: Path, query: str, error: int
) -> None:
    gone = f"{A100},{query}={error}"
    runs = answer(host, contract, code=0, GPUS=f"{A100};{gone}")
    assert runs["devices"] == [UUID.format(0, 0)]
    ((_, what),) = refusals(runs)
    assert what == "cannot be used"


def test_the_only_gpu_vanishes(host: Host, contract: Path) -> None:
    runs = answer(host, contract, code=6, GPUS=f"{A100},memory=15")
    assert runs["verdicts"][1]["why"] == "the driver has lost it: GPU is lost"


def test_a_driver_that_fails(host: Host, contract: Path) -> None:
    runs = answer(host, contract, code=6, GPUS=A100, COUNT="999")
    assert refusals(runs) == [("GPUs", "the NVIDIA driver fails")]


def test_no_gpu(host: Host, contract: Path) -> None:
    assert refusals(answer(host, contract, code=6, GPUS="")) == [("GPUs", "there is none")]


def test_people_are_told_too(host: Host, contract: Path) -> None:
    text = host.doctor("--contract", contract, code=6, GPUS="Tesla K80,3.7,12288")
    assert "gpu           ok       GPU 0 (Tesla K80): 12288 MiB, compute capability 3.7" in text
    assert f"this host cannot run {contract}\n  driver: 550.54.14 is new enough" in text
    assert "    try: use a GPU of one of these architectures, or the cpu variant" in text


def test_an_image_says_by_its_labels_what_it_asks(host: Host, tmp_path: Path) -> None:
    for name, labels, code in (("gpu", dict(CONTRACT.labels()), 6), ("cpu", {"a": "b"}, 0)):
        layout = tmp_path / name
        config = Document(
            content=json.dumps({"config": {"Labels": labels}}).encode(),
            media_type=CONFIG_TYPE,
        )
        manifest = oci.manifest(config, (), {})
        for path, content in oci.layout_files(config, manifest, "r").items():
            (layout / path).parent.mkdir(parents=True, exist_ok=True)
            (layout / path).write_bytes(content)
        runs = answer(host, layout, code=code, GPUS="Tesla K80,3.7,12288")
        assert (runs["contract"] is None) is (name == "cpu")


def test_a_runtime_of_the_repository(host: Host) -> None:
    text = host.doctor("6.0-ml", code=0)
    assert text.endswith("this host can run 6.0-ml (cpu)\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("6.0", "--variant", "gpu"), 2, "did you mean '6.0-ml'?"),
        (("--variant", "gpu"), 2, "--variant gpu of which runtime?"),
        (("6.0-ml", "--contract", "x"), 2, "cannot be used together"),
        (("--contract", "/nowhere.json"), 2, "there is no /nowhere.json"),
        (("--contract", "tests"), 2, "tests is not an OCI layout"),
        (("--contract", "pyproject.toml"), 4, "pyproject.toml:1:2: not valid JSON"),
    ],
)
def test_questions_that_mean_nothing(
    host: Host, words: tuple[str, ...], code: int, said: str
) -> None:
    assert said in host.doctor(*words, code=code)
