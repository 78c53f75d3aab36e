"""`cluster.sbatch` of `render --for slurm` with GPUs, with a SLURM and programs that take notes.

Whether Spark then runs, tests/slurm asks, on nodes without GPUs.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.rendered import IMAGE, files

STUBS = {
    # The options of srun go; one node stands for all.
    "srun": """while :; do case $1 in --*) shift ;; *) break ;; esac; done
CUDA_VISIBLE_DEVICES=3 exec "$@\"""",
    "nvidia-smi": 'echo "$DRIVER"',
    "spark-class": """echo "$1 sees ${CUDA_VISIBLE_DEVICES-all}" >>"$NOTES"
case $1 in *Worker) cp "$SPARK_CONF_DIR"/* "$SPARK_CONF_DIR/../gpus" "$KEPT" ;; esac""",
    "curl": """grep -q Worker "$NOTES" && echo '"aliveworkers" : 2,'""",
    "hostname": "echo host1",
    "python": 'echo "program $*" >>"$NOTES"',
    "apptainer": """echo "apptainer $*" >>"$NOTES"
until [ "${1#docker:}" != "$1" ]; do shift; done
shift
exec "$@\"""",
    "sleep": "exec /bin/sleep 0.02",
}
pytestmark = pytest.mark.starts


def run(folder: Path, *, driver: str, expected: int = 0, **environ: str) -> list[str]:
    """Run the script; return what was noted, and what it wrote."""
    for name, text in STUBS.items():
        path = folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    for name in ("kept", "own"):
        (folder / name).mkdir()
    (folder / "own/log4j2.properties").write_text("a=b\n")
    (folder / "own/spark-defaults.conf").write_text("spark.of.the.image yes\n")
    script = folder / "cluster.sbatch"
    script.write_text(files("slurm", gpus=1)["cluster.sbatch"].text)
    notes = folder / "notes"
    notes.touch()
    done = subprocess.run(
        ["bash", str(script), "train.py", "--epochs", "3"], capture_output=True, text=True,
        cwd=folder,
        env={
            "PATH": f"{folder}/bin:{os.environ['PATH']}", "NOTES": str(notes), "DRIVER": driver,
            "KEPT": str(folder / "kept"), "SLURM_JOB_ID": "7", "SLURM_SUBMIT_DIR": str(folder),
            "SPARK_CONF_DIR": str(folder / "own"), **environ,
        },
    )  # fmt: skip
    assert done.returncode == expected, done.stderr
    assert not list(folder.glob(".spark-*"))
    return [*notes.read_text().splitlines(), *done.stderr.splitlines()]


def test_a_worker_offers_the_gpus_that_slurm_gave_it(tmp_path: Path) -> None:
    told = run(tmp_path, driver="550.54.14", RUN="env")
    assert "org.apache.spark.deploy.worker.Worker sees 3" in told
    assert "program -u train.py --epochs 3" in told
    settings = (tmp_path / "kept/spark-defaults.conf").read_text().splitlines()
    assert settings[0] == "spark.of.the.image yes"
    assert "spark.worker.resource.gpu.amount 1" in settings
    (script,) = (one for one in settings if "spark.worker.resource.gpu.discoveryScript" in one)
    assert script.endswith("/gpus")
    assert (tmp_path / "kept/gpus").stat().st_mode & 0o100
    assert "SPARK_LOCAL_IP=127.0.0.1" in (tmp_path / "kept/spark-env.sh").read_text()


def test_the_container_has_the_driver_and_is_told_of_the_gpus(tmp_path: Path) -> None:
    told = run(tmp_path, driver="550.54.14")
    (worker,) = (one for one in told if one.startswith("apptainer") and "Worker" in one)
    before, _, after = worker.partition(f" docker://{IMAGE} ")
    assert before.startswith("apptainer exec --cleanenv --nv --bind ")
    assert "CUDA_VISIBLE_DEVICES=3 spark-class org.apache.spark.deploy.worker.Worker" in after


def test_a_node_with_an_old_driver_is_told_before_anything_starts(tmp_path: Path) -> None:
    assert run(tmp_path, driver="470.82.01", expected=6) == [
        "mlruntime: host1: the image needs driver 525.60.13 or newer, this node has 470.82.01"
    ]
