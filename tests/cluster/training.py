"""A cluster for programs that train, and the programs' results."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlruntime.cluster.containers import ContainerCluster, cluster
from mlruntime.cluster.description import SHARED, ClusterSpec
from mlruntime.engine import Engine
from mlruntime.engine.values import Mount

from tests.conftest import CHECKOUT, Runtime
from tests.horovodrunner_page import EXAMPLES

PROGRAMS = Path(__file__).parent / "programs"
_SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.extraJavaOptions": _SHORT_LIVED,
    "spark.executor.extraJavaOptions": _SHORT_LIVED,
    "spark.sparkdl.sharedDirectory": SHARED,
}


@contextmanager
def training_cluster(engine: Engine, runtime: Runtime) -> Iterator[ContainerCluster]:
    """Bring up a cluster with the checkout's library laid over the image's own."""
    packages = _site_packages(engine, runtime.image)
    mounts = (
        Mount(
            source=str(CHECKOUT / "images" / "sparkdl" / "sparkdl"),
            target=f"{packages}/sparkdl",
            kind="bind",
            read_only=True,
        ),
        Mount(source=str(PROGRAMS), target="/programs", kind="bind", read_only=True),
        Mount(source=str(EXAMPLES), target="/examples", kind="bind", read_only=True),
    )
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2"}
    spec = ClusterSpec(image=runtime.image, mounts=mounts, environment=environment)
    with cluster(engine, spec) as up:
        yield up


def _site_packages(engine: Engine, image: str) -> str:
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return engine.run(image, ["python", "-c", where]).tail.strip()


def submitted(running: ContainerCluster, *words: str) -> list[str]:
    """Run a program on the cluster; return the lines of its standard output."""
    settings = [word for name, value in SETTINGS.items() for word in ("--conf", f"{name}={value}")]
    command = ["spark-submit", "--master", running.master_url, *settings, *words]
    process = running.driver.exec(command)
    lines = list(process)
    said = "\n".join(line for _, line in lines[-80:])
    assert process.exit_code() == 0, said
    return [line for stream, line in lines if stream == "stdout"]


def answer(running: ContainerCluster, program: str, *words: str) -> dict[str, Any]:
    """Run one of the programs; return its result."""
    lines = submitted(running, f"/programs/{program}", *words)
    (result,) = [line.removeprefix("RESULT ") for line in lines if line.startswith("RESULT ")]
    found: dict[str, Any] = json.loads(result)
    return found
