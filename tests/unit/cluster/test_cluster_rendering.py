"""Files that start a cluster elsewhere: as kept, and as those who read them would take them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.form import with_flags
from mlruntime.cluster.rendering import (
    PLACES,
    JobFiles,
    RenderRequest,
    left_out,
    must_be_pullable,
    render,
    withheld,
)
from mlruntime.definitions.files import Definitions
from mlruntime.engine.values import Mount
from mlruntime.errors import UsageError
from mlruntime.workflows.cluster.describing import cluster_templates, render_cluster

from tests.rendered import CHECKOUT, GOLDEN, IMAGE, SECRET, files, golden

KUBERNETES = "1.34.0"


def test_the_files_are_as_they_are_kept() -> None:
    found = golden()
    kept = {
        path.relative_to(CHECKOUT).as_posix(): path.read_text(encoding="utf-8")
        for path in (CHECKOUT / GOLDEN).rglob("*")
        if path.is_file()
    }
    assert kept == found, "python -m tests.documents writes them anew"


@pytest.mark.parametrize("place", PLACES)
def test_the_secret_is_in_files_of_its_own(place: str) -> None:
    found = files(place)
    telling = {name for name, file in found.items() if SECRET in file.text}
    assert telling == {"compose": set(), "kubernetes": {"secret.yaml"}, "hosts": {"secret"},
                       "slurm": set()}[place]  # fmt: skip
    assert all(found[name].secret for name in telling)


def _documents(gpus: int = 0) -> Iterator[tuple[str, Any]]:
    for name, file in files("kubernetes", gpus=gpus).items():
        if name.endswith(".yaml"):
            yield from ((name, one) for one in yaml.safe_load_all(file.text))


@pytest.mark.parametrize("gpus", [0, 2])
def test_kubernetes_accepts_every_object(gpus: int) -> None:
    judged = 0
    for _, document in _documents(gpus):
        if document["kind"] == "SparkApplication":  # the operator's own, in no schema of theirs
            continue
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        judged += 1
    assert judged == 16


def _pods() -> Iterator[tuple[str, Any]]:
    for name, document in _documents(1):
        if document["kind"] in ("StatefulSet", "Job"):
            yield f"{name}: {document['metadata']['name']}", document["spec"]["template"]["spec"]


def test_pods_are_confined_and_limited() -> None:
    pods = dict(_pods())
    assert len(pods) == 5
    for pod in pods.values():
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["image"] == IMAGE
            confined = container["securityContext"]
            assert confined["capabilities"] == {"drop": ["ALL"]}
            assert confined["readOnlyRootFilesystem"] is True
            assert confined["allowPrivilegeEscalation"] is False
            assert "memory" in container["resources"]["limits"]
            mounted = {m["name"] for m in container["volumeMounts"]}
            assert mounted <= {volume["name"] for volume in pod["volumes"]}
    (worker,) = pods["standalone.yaml: team-a-worker"]["containers"]
    assert worker["resources"]["limits"] == {"cpu": 1, "memory": "4096Mi", "nvidia.com/gpu": 1}
    assert "discover-gpus" in next(
        one["value"] for one in worker["env"] if one["name"] == "SPARK_WORKER_OPTS"
    )


def test_what_is_named_in_kubernetes_is_there() -> None:
    documents = [d for _, d in _documents()]
    names = {(d["kind"], d["metadata"]["name"]) for d in documents}
    services = {d["spec"]["serviceName"] for d in documents if d["kind"] == "StatefulSet"}
    assert {("Service", name) for name in services} <= names
    conf = next(
        d["stringData"]["spark.conf"]
        for d in documents
        if (d["kind"], d["metadata"]["name"]) == ("Secret", "team-a-spark")
    )
    assert re.search(r"^spark.master spark://team-a-master:7077$", conf, re.M)
    for document in documents:
        if document["kind"] in ("StatefulSet", "Job"):
            account = document["spec"]["template"]["spec"].get("serviceAccountName")
            assert account is None or ("ServiceAccount", account) in names


def test_compose_describes_the_same_cluster() -> None:
    found = yaml.safe_load(files("compose")["compose.yaml"].text)
    services = found["services"]
    assert list(services) == ["configure", "master", "worker-1", "worker-2", "history", "job"]
    assert services["master"]["ports"] == ["127.0.0.1:8080:8080"]
    assert (services["worker-1"]["mem_limit"], services["worker-1"]["cpus"]) == ("4096m", 1)
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
    # A volume of the engine, and not one that Compose makes for this project and removes with it.
    assert found["volumes"] == {
        "conf": {}, "shared": {}, "external-datasets": {"name": "datasets", "external": True}
    }  # fmt: skip
    assert "external-datasets:/data:ro" in services["worker-1"]["volumes"]
    gpus = yaml.safe_load(files("compose", gpus=2)["compose.gpu.yaml"].text)["services"]
    devices = {
        name: service["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"]
        for name, service in gpus.items()
    }
    assert devices == {"worker-1": ["0", "1"], "worker-2": ["2", "3"]}


@pytest.mark.starts
@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("gpus", [0, 1])
@pytest.mark.parametrize(
    ("place", "name"), [("hosts", "bootstrap.sh"), ("slurm", "cluster.sbatch")]
)
def test_scripts_are_clean(place: str, name: str, gpus: int, tmp_path: Path) -> None:
    (tmp_path / name).write_text(files(place, gpus=gpus)[name].text)
    done = subprocess.run(["shellcheck", tmp_path / name], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.starts
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("gpus", [0, 1])
def test_systemd_accepts_the_units(gpus: int, tmp_path: Path) -> None:
    units = [n for n in files("hosts", gpus=gpus) if n.endswith(".service")]
    assert len(units) == 2
    for unit in units:
        text = files("hosts", gpus=gpus)[unit].text
        (tmp_path / unit).write_text(text)
        words = ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)]
        done = subprocess.run(words, capture_output=True, text=True)
        told = [line for line in done.stderr.splitlines() if unit in line]
        assert not told


@pytest.mark.starts
def test_a_host_that_cannot_run_the_image_is_told_before_the_pull(tmp_path: Path) -> None:
    """The script's own checks, with programs in PATH that answer as such hosts would."""
    script = tmp_path / "bootstrap.sh"
    script.write_text(files("hosts", gpus=1)["bootstrap.sh"].text)
    for program, answer in {
        "id": "0", "uname": "x86_64", "systemctl": "", "docker": "", "nproc": "8",
        "nvidia-smi": "470.82.01",
    }.items():  # fmt: skip
        path = tmp_path / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho {answer}\n")
        path.chmod(0o755)

    def check(**answers: str) -> str:
        for program, answer in answers.items():
            (tmp_path / "bin" / program.replace("_", "-")).write_text(f"#!/bin/sh\necho {answer}\n")
        done = subprocess.run(
            ["sh", str(script), "check"], capture_output=True, text=True,
            env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
        )  # fmt: skip
        return f"{done.returncode} {done.stderr.splitlines()[0]}"

    assert (
        check() == "6 mlruntime: the image needs driver 525.60.13 or newer, this host has 470.82.01"
    )
    assert check(nvidia_smi="550.54.14").startswith("0 mlruntime: this host can run")
    assert check(uname="aarch64") == "6 mlruntime: the image is for x86_64, this host is aarch64"
    assert check(uname="x86_64", nproc="0") == "6 mlruntime: 1 cores are needed, this host has 0"
    assert check(id="1000") == "2 mlruntime: only root can set up a host"


def test_an_image_of_this_machine_cannot_be_pulled_elsewhere() -> None:
    must_be_pullable("compose", "mlruntime/6.0-ml:cpu")
    must_be_pullable("hosts", IMAGE)
    must_be_pullable("hosts", f"localhost:5000/ml@sha256:{'1' * 64}")
    must_be_pullable("hosts", f"sha256:{'1' * 64}")  # loaded there by hand
    for image in ("mlruntime/6.0-ml:cpu", f"sha256:{'1' * 64}"):
        with pytest.raises(UsageError, match="is an image of this machine only"):
            must_be_pullable("kubernetes", image)


@pytest.mark.parametrize("place", ["hosts", "kubernetes", "slurm"])
@pytest.mark.parametrize("end", [":cpu", "", "@sha256:1"])
def test_nodes_that_pull_need_a_digest(place: str, end: str) -> None:
    with pytest.raises(UsageError, match="has no digest"):
        must_be_pullable(place, f"registry.example.org/ml/6.0-ml{end}")


HUSH = {"spark.hadoop.fs.s3a.secret.key": "hush", "spark.sql.shuffle.partitions": "9"}


@pytest.mark.parametrize("place", PLACES)
def test_what_a_user_sets_is_for_nobody_else_to_read(place: str) -> None:
    found = files(place, spark=HUSH)
    assert all(file.secret for file in found.values() if "hush" in file.text)
    objects = [
        document for name, file in found.items() if name.endswith(".yaml")
        for document in yaml.safe_load_all(file.text)
    ]  # fmt: skip
    telling = {(d.get("kind"), d["metadata"]["name"]) for d in objects if "hush" in repr(d)}
    wanted = {("Secret", "team-a-spark"), ("Secret", "team-a-native")}
    assert telling == (wanted if place == "kubernetes" else set())


def test_what_spark_would_show_is_left_out_and_said() -> None:
    found = files("kubernetes", spark=HUSH)
    for name in ("native-cluster.yaml", "spark-application.yaml"):
        assert "hush" not in found[name].text
    (settings,) = (
        document["stringData"]
        for document in yaml.safe_load_all(found["native-settings.yaml"].text)
        if document["kind"] == "Secret"
    )
    assert "fs.s3a.secret.key hush" in settings["spark-defaults.conf"]
    assert "hush" not in settings["cluster-mode.conf"]
    assert "spark.sql.shuffle.partitions 9" in settings["cluster-mode.conf"]
    spec = ClusterSpec(image=IMAGE, settings=HUSH)
    assert withheld("kubernetes", spec) == (
        "spark.hadoop.fs.s3a.secret.key of native-cluster.yaml and spark-application.yaml",
    )
    assert withheld("hosts", spec) == ()


def test_settings_of_a_program_on_kubernetes_are_in_a_secret() -> None:
    job = JobFiles(
        name="team-a-job-1", program="p", command=("python", "x.py"), files={}, settings=HUSH
    )
    wanted = RenderRequest(
        name="team-a", spec=ClusterSpec(image=IMAGE), secret="", spark="", job=job
    )
    text = render("kubernetes", wanted, cluster_templates(Definitions(CHECKOUT)))["job.yaml"].text
    secret, made = yaml.safe_load_all(text)
    assert (secret["kind"], secret["metadata"]["name"]) == ("Secret", "team-a-job-1")
    assert secret["metadata"]["labels"]["io.mlruntime/job"] == "team-a-job-1"
    assert "spark.hadoop.fs.s3a.secret.key hush" in secret["stringData"]["spark.conf"]
    assert "hush" not in repr(made)
    (configure,) = made["spec"]["template"]["spec"]["initContainers"]
    assert "cat /job-settings/spark.conf >>" in configure["args"][0]
    for document in (secret, made):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_what_a_place_cannot_have_is_said() -> None:
    spec = ClusterSpec(
        image=IMAGE, history=True, connect=True, ports={"ui": 8080, "history": 18080},
        mounts=(
            Mount(source="datasets", target="/data", kind="volume"),
            Mount(source="/mnt/data", target="/d", kind="bind"),
        ),
    )  # fmt: skip
    assert left_out("compose", spec) == (spec, ())
    servers = ("the history server", "Spark Connect", "port 8080 for the master's page")
    for place in ("kubernetes", "hosts"):
        kept, told = left_out(place, spec)
        assert told == servers and kept.mounts == spec.mounts and not kept.ports
    kept, told = left_out("slurm", spec)
    assert told == (*servers, "volume datasets, which is no directory,")
    assert [mount.source for mount in kept.mounts] == ["/mnt/data"]
    assert left_out("slurm", ClusterSpec(image=IMAGE, ports={"ui": 0}))[1] == ()


def test_a_secret_that_is_there_stays(tmp_path: Path) -> None:
    definitions = Definitions(CHECKOUT)
    form = with_flags(None, "flags", {"runtime": "6.0-ml"})

    def write() -> str:
        render_cluster(definitions, form, "kubernetes", "a", tmp_path, image=IMAGE)
        return (tmp_path / "secret.yaml").read_text()

    before = write()
    assert (tmp_path / "secret.yaml").stat().st_mode & 0o777 == 0o600
    assert write() == before
    assert "standalone.yaml" in {path.name for path in tmp_path.iterdir()}


def test_templates_are_those_of_the_definitions() -> None:
    templates = cluster_templates(Definitions(CHECKOUT))
    assert {name.partition("/")[0] for name in templates} == {*PLACES, "configure.sh.j2"}
