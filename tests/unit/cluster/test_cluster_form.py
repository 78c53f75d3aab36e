"""cluster.yaml: what is accepted, how mistakes are told, and what follows for the nodes."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlruntime.cluster.description import describe
from mlruntime.cluster.form import parse_cluster, with_flags
from mlruntime.cluster.gpus import Gpus
from mlruntime.cluster.memory import mebibytes
from mlruntime.cluster.settings import cluster_settings, properties
from mlruntime.definitions.files import Definitions
from mlruntime.errors import InvalidDefinition, Unavailable, UsageError
from mlruntime.host.gpus import Device, HostGpus, NoGpus
from mlruntime.lock.contract import HostContract, labelled
from mlruntime.workflows.cluster import describing, fitting

from tests.documents import CHECKOUT

FILE = CHECKOUT / "docs" / "examples" / "cluster.yaml"


def test_the_example_of_the_documentation() -> None:
    form = parse_cluster(FILE.read_text(), file="cluster.yaml")
    spec = describing.spec_of(form, "sha256:1")
    assert (spec.workers, spec.memory, spec.limit) == (2, "3072m", 4 << 30)
    assert [(m.source, m.target, m.kind, m.read_only) for m in spec.mounts] == [
        ("datasets", "/data", "volume", True)
    ]
    described = describe(spec, "team-a")
    assert [n.name for n in described.nodes] == ["master", "worker-1", "worker-2", "history"]
    published = {p.service: p.host for n in described.nodes for p in n.ports}
    assert published == {"spark": None, "ui": 8080, "history": 18080}


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("workers: 2", "cluster.yaml", "a runtime or an image, and not both"),
        ("{runtime: 6.0-ml, image: x}", "cluster.yaml", "a runtime or an image, and not both"),
        ("{runtime: 6.0-ml, worker: 2}", "cluster.yaml: worker", "unknown key 'worker'"),
        ("{runtime: 6.0-ml, workers: 0}", "cluster.yaml: workers", "at least 1, found 0"),
        ("{runtime: 6.0-ml, workers: 65}", "cluster.yaml: workers", "at most 64, found 65"),
        ("{runtime: 6.0-ml, memory: 1g}", "cluster.yaml: memory", "too little for a worker"),
        ("{runtime: 6.0-ml, memory: 4 GB}", "cluster.yaml: memory", "not an amount of memory"),
        ("{runtime: 6.0-ml, variant: tpu}", "cluster.yaml: variant", "unknown value 'tpu'"),
        ("{runtime: 6.0-ml, flavour: a-b}", "cluster.yaml: flavour", "not the name of a flavour"),
        ("{runtime: 6.0-ml, spark: {spark.master: x}}", "cluster.yaml: spark.spark.master",
         "is set by mlruntime"),
        ("{runtime: 6.0-ml, spark: {master: x}}", "cluster.yaml: spark.master",
         "not a setting of Spark"),
        ('{runtime: 6.0-ml, spark: {spark.a: "x\\ny"}}', "cluster.yaml: spark.spark.a",
         "not one line of text"),
        ("{runtime: 6.0-ml, volumes: [{source: aa, target: /opt/ml}]}",
         "cluster.yaml: volumes[0].target", "would hide files of the image"),
        ("{runtime: 6.0-ml, volumes: [{source: ../x, target: /d}]}",
         "cluster.yaml: volumes[0].source", "neither a volume's name"),
        ("{runtime: 6.0-ml, volumes: [{source: aa, target: /d}, {source: bb, target: /d/}]}",
         "cluster.yaml: volumes[1].target", "/d is listed twice"),
        ("{runtime: 6.0-ml, ports: {ui: 70000}}", "cluster.yaml: ports.ui", "is not a port"),
        ("{runtime: 6.0-ml, ports: {ui: 80, history: 80}}", "cluster.yaml: ports.history",
         "the port of ui, too"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(text: str, where: str, what: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_cluster(text, file="cluster.yaml")
    assert (caught.value.where, what in caught.value.what) == (where, True), caught.value.what


def test_flags_go_before_the_file() -> None:
    text = "{runtime: 6.0-ml, workers: 3, spark: {spark.a: '1', spark.b: '1'}}"
    flags = {"workers": 5, "cores": None, "spark": {"spark.b": "2"}, "runtime": "7.0-ml"}
    form = with_flags(text, "cluster.yaml", flags)
    assert (form.workers, form.cores, form.runtime) == (5, 1, "7.0-ml")
    assert form.settings == {"spark.a": "1", "spark.b": "2"}


def test_an_image_is_all_that_must_be_named() -> None:
    """Beside a runtime, it is the place that knows what it means."""
    form = with_flags(None, "flags", {"workers": 5}, image="other")
    assert (form.runtime, form.image) == (None, "other")
    form = with_flags("runtime: 6.0-ml", "cluster.yaml", {}, image="other")
    assert (form.runtime, form.image) == ("6.0-ml", None)
    form = with_flags("image: x", "cluster.yaml", {}, image="other")
    assert (form.runtime, form.image) == (None, "other")


class Images:
    """An engine that has one image."""

    def __init__(self, name: str, **labels: str) -> None:
        self.name, self.labels = name, {f"io.mlruntime.{key}": labels[key] for key in labels}

    def image_config(self, reference: str) -> Any:
        assert reference == self.name
        return SimpleNamespace(id="sha256:1", labels=self.labels)


def test_a_runtime_has_an_image_of_each_flavour() -> None:
    engine: Any = Images("mlruntime/6.0-ml:cpu-notebook", runtime="6.0-ml", flavour="notebook")
    form = with_flags(None, "flags", {"runtime": "6.0-ml", "flavour": "notebook"})
    assert describing.find_image(engine, Definitions(CHECKOUT), form).id == "sha256:1"
    form = with_flags(None, "flags", {"runtime": "6.0-ml", "flavour": "notebok"})
    with pytest.raises(UsageError, match=r"6\.0-ml has no flavour 'notebok'") as caught:
        describing.find_image(engine, Definitions(CHECKOUT), form)
    assert "notebook" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("labels", "have"), [({}, "core"), ({"flavour": "ml"}, "ml"), ({"flavour": "ml-x"}, "ml-x")]
)
def test_an_image_is_of_the_flavour_that_was_asked_for(labels: dict[str, str], have: str) -> None:
    """Or on top of it, as one with packages of a team is; without a flavour, it may have any."""
    engine: Any = Images("x", runtime="6.0-ml", **labels)
    definitions = Definitions(CHECKOUT)
    for flavour in ("core", "ml", "notebook"):
        form = with_flags(None, "flags", {"image": "x", "flavour": flavour})
        if flavour == have.partition("-")[0]:
            assert describing.find_image(engine, definitions, form)
            continue
        with pytest.raises(UsageError, match=f"x is of flavour {have}, not {flavour}"):
            describing.find_image(engine, definitions, form)
    assert describing.find_image(engine, definitions, with_flags("image: x", "f", {}))


def test_files_for_elsewhere_name_the_flavour_s_image() -> None:
    form = with_flags(None, "flags", {"runtime": "6.0-ml", "flavour": "notebook"})
    wanted, _ = describing.wanted_elsewhere(Definitions(CHECKOUT), form, "compose", "a", image=None)
    assert wanted.spec.image == "mlruntime/6.0-ml:cpu-notebook"


def test_what_the_engine_s_host_does_not_have() -> None:
    form = with_flags(None, "flags", {"runtime": "6.0-ml", "cores": 4, "memory": "64g"})
    info: Any = SimpleNamespace(cpus=2, memory=128 << 30)
    with pytest.raises(UsageError, match="a worker of 4 cores, but the engine's host has 2"):
        fitting.must_fit(form, info)
    info = SimpleNamespace(cpus=4, memory=16 << 30)
    with pytest.raises(UsageError, match=r"with 64g of memory, but .* has 16\.0 GiB"):
        fitting.must_fit(form, info)


def test_the_memory_of_all_workers_and_the_cores_of_each_must_be_there() -> None:
    """Cores are shared; memory that is used up ends processes of the host."""
    form = with_flags(None, "flags", {"runtime": "6.0-ml", "workers": 3, "cores": 2})
    info: Any = SimpleNamespace(cpus=2, memory=12 << 30)
    fitting.must_fit(form, info)
    info = SimpleNamespace(cpus=2, memory=(12 << 30) - 1)
    told = r"3 workers with 4 GiB of memory each, but the engine's host has 12\.0 GiB"
    with pytest.raises(UsageError, match=told):
        fitting.must_fit(form, info)


@pytest.mark.parametrize(
    ("image", "host", "runs"),
    [("amd64", "amd64", True), ("", "arm64", True), ("amd64", "", True), ("amd64", "arm64", False)],
)
def test_an_image_for_other_processors_is_refused(image: str, host: str, runs: bool) -> None:
    told: Any = SimpleNamespace(architecture=image)
    info: Any = SimpleNamespace(architecture=host)
    if runs:
        fitting.must_run(told, info)
        return
    with pytest.raises(Unavailable, match="the image is for amd64, the engine's host is arm64"):
        fitting.must_run(told, info)


@pytest.mark.parametrize(
    ("endpoint", "command"),
    [
        ("ssh://ann@big.example.org:2222 (DOCKER_HOST)",
         "ssh -N -L 32769:127.0.0.1:32769 -L 18080:127.0.0.1:18080 -p 2222 ann@big.example.org"),
        ("tcp://big.example.org:2376 (context 'big': DOCKER_CONTEXT)",
         "ssh -N -L 32769:127.0.0.1:32769 -L 18080:127.0.0.1:18080 big.example.org"),
    ],
)  # fmt: skip
def test_what_is_on_another_host_is_told_as_such(endpoint: str, command: str) -> None:
    remote: Any = SimpleNamespace(remote=True, endpoint=endpoint)
    addresses = {"ui": "127.0.0.1:32769", "history": "127.0.0.1:18080"}
    assert describing.forwarding(remote, addresses) == command
    here: Any = SimpleNamespace(remote=False, endpoint="unix:///run/docker.sock (the default)")
    assert describing.forwarding(here, addresses) is None
    with pytest.raises(UsageError, match="an engine on this host only") as raised:
        fitting.must_be_here(remote)
    assert endpoint in str(raised.value.why)
    fitting.must_be_here(here)


def test_spark_connect_needs_spark_4() -> None:
    form = with_flags(None, "flags", {"runtime": "6.0-ml", "connect": True})
    old: Any = SimpleNamespace(labels={"io.mlruntime.component.spark": "3.5.9"})
    new: Any = SimpleNamespace(labels={"io.mlruntime.component.spark": "4.1.4"})
    fitting.must_have_connect(form, new)
    with pytest.raises(UsageError, match=r"Spark 3\.5\.9 comes without the server"):
        fitting.must_have_connect(form, old)


def test_gpus_are_dealt_out_to_workers() -> None:
    form = with_flags(None, "flags", {"runtime": "6.0-ml", "gpus": 2})
    devices = tuple(Device(index=n, uuid=f"GPU-{n}") for n in range(5))
    found = fitting.given(form, None, HostGpus(driver="1", cuda=None, devices=devices))
    assert found == Gpus(
        each=2, devices={"worker-1": ("GPU-0", "GPU-1"), "worker-2": ("GPU-2", "GPU-3")}
    )
    with pytest.raises(UsageError, match="2 workers with 2 GPUs each, but this host has 3"):
        fitting.given(form, None, HostGpus(driver="1", cuda=None, devices=devices[:3]))
    with pytest.raises(UsageError, match="but this host has 0") as raised:
        fitting.given(form, None, NoGpus(what="no driver"))
    assert raised.value.why == "no driver"


def test_a_gpu_image_gets_gpus_that_can_run_it() -> None:
    """What it asks of a host is in its labels, also where there is no lock."""
    contract = HostContract(
        minimum_driver="525.60.13", cuda="12.4", architectures=("8.0", "9.0"), ptx=("9.0",),
        memory_mib=8000,
    )  # fmt: skip
    assert labelled({"other": "1", **dict(contract.labels())}) == contract
    assert labelled({"other": "1"}) is None
    form = with_flags(None, "flags", {"runtime": "6.0-ml", "gpus": 1})
    devices = tuple(
        Device(index=n, uuid=f"GPU-{n}", memory_mib=memory, capability="8.0")
        for n, memory in enumerate((16000, 4000, 16000))
    )
    host = HostGpus(driver="550.54.14", cuda="12.4", devices=devices)
    found = fitting.given(form, contract, host)
    assert found.devices == {"worker-1": ("GPU-0",), "worker-2": ("GPU-2",)}
    with pytest.raises(UsageError, match="has 1 that can run the image") as raised:
        fitting.given(form, contract, replace(host, devices=devices[:2]))
    assert "has too little memory: 4000 MiB" in str(raised.value.why)
    with pytest.raises(UsageError, match="has 0 that can run the image") as raised:
        fitting.given(form, contract, replace(host, driver="470.82.01"))
    assert "driver: 470.82.01 is too old" in str(raised.value.why)


def test_strangers_are_refused_whatever_is_set() -> None:
    form = with_flags(None, "f", {"runtime": "6.0-ml", "spark": {"spark.sql.ansi.enabled": "true"}})
    settings = cluster_settings(describing.spec_of(form, "i"), "spark://m:7077")
    assert settings["spark.authenticate"] == settings["spark.network.crypto.enabled"] == "true"
    assert settings["spark.master.rest.enabled"] == "false"
    assert settings["spark.sql.ansi.enabled"] == "true"
    assert "spark.authenticate.secret" not in settings


@example("= x")
@example(": x")
@example("\\")
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30))
def test_a_value_is_what_java_reads(value: str) -> None:
    line = properties({"spark.key": value})
    assert line.endswith("\n")
    assert _as_java_reads(line.removesuffix("\n")) == ("spark.key", value)


def _as_java_reads(line: str) -> tuple[str, str]:
    """Return what ``java.util.Properties`` makes of a line whose key is plain."""
    key, _, rest = line.partition(" ")
    rest = rest.lstrip(" \t\f")
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(" \t\f")
    out, chars = "", iter(rest)
    for char in chars:
        out += next(chars, "") if char == "\\" else char
    return key, out


@pytest.mark.parametrize(("text", "size"), [("512m", 512), ("4g", 4096), ("1t", 1 << 20)])
def test_memory(text: str, size: int) -> None:
    assert mebibytes(text) == size
