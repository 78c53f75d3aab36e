"""What ``doctor`` makes of hosts that lack something."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlruntime.cli.doctor import table
from mlruntime.doctor import findings as doctor
from mlruntime.doctor.findings import Finding, can_build
from mlruntime.engine import EngineInfo
from mlruntime.errors import Unavailable, UsageError
from mlruntime.host.gpus import (
    Device,
    HostGpus,
    NoGpus,
)
from mlruntime.host.settings import Sources

OK = Finding(name="x", status="ok", found="here")


def engine_with(memory: int, api: str = "1.41") -> doctor.Engine:
    class Fake:
        def close(self) -> None: ...

        def info(self) -> EngineInfo:
            return EngineInfo(version="20.10", api=api, kernel="6.1", cpus=2, memory=memory)

    return Fake()  # type: ignore[return-value]


def test_only_what_is_needed_decides() -> None:
    optional = Finding(name="nvidia", status="missing", found="none", needed=False)
    assert can_build([OK, optional])
    assert not can_build([OK, Finding(name="uv", status="missing", found="none")])
    assert "CPU images can be built here" in table([OK, optional])
    assert "cannot be built" in table([Finding(name="uv", status="missing", found="none")])


def test_no_engine_says_how_to_get_one() -> None:
    def connect() -> doctor.Engine:
        raise Unavailable("no container engine answers", why="refused", hint="start one")

    (finding,) = doctor.engine(connect)
    assert (finding.status, finding.hint) == ("missing", "start one")
    assert finding.found == "no container engine answers (refused)"


@pytest.mark.parametrize(("gigabytes", "status"), [(2, "missing"), (16, "ok")])
def test_memory_is_the_engines(gigabytes: int, status: str) -> None:
    _, memory, *_ = doctor.engine(lambda: engine_with(gigabytes << 30))
    assert memory.status == status


def test_an_engine_that_is_too_old_is_told_before_anything_is_fetched() -> None:
    old, *_ = doctor.engine(lambda: engine_with(16 << 30, api="1.39"))
    assert old.status == "missing"
    assert "API 1.40 is needed" in str(old.hint)
    new, *_ = doctor.engine(lambda: engine_with(16 << 30, api="1.52"))
    assert new.status == "ok"


def test_the_engines_disk_is_looked_at_where_it_can_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(**more: Any) -> Finding:
        return doctor.engine_disk(
            EngineInfo(version="1", api="1.41", kernel="6", cpus=1, memory=1, **more)
        )

    usage = SimpleNamespace(free=doctor.ENGINE_BYTES)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    assert found(root=str(tmp_path)).status == "ok"
    usage.free -= 1
    assert found(root=str(tmp_path)).status == "missing"
    assert found(root=str(tmp_path), remote=True).status == "not-run"
    assert found(root=str(tmp_path / "another host's")).status == "not-run"
    assert can_build([found(root="/nowhere")])


def test_disk(tmp_path: Path) -> None:
    store = tmp_path / "not" / "yet"
    assert doctor.disk(store, 1).status == "ok"
    full = doctor.disk(store, 1 << 60)
    assert full.status == "missing"
    assert "MLRUNTIME_STORE" in str(full.hint)


def test_a_bundle_that_is_no_certificate(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("hello")
    assert doctor.certificates(bundle).status == "missing"
    assert doctor.certificates(None).status == "ok"


def test_registries_are_shown_without_secrets_and_debian_is_needed() -> None:
    found = doctor.registries(
        lambda: Sources(
            indexes=("https://user:secret@index.example/simple",),
            maven="https://maven.example",
            debian=(),
        )
    )
    by_name = {finding.name: finding for finding in found}
    assert by_name["pypi"].found == "https://index.example/simple"
    assert by_name["debian"].status == "missing"


def test_sources_that_cannot_be_read() -> None:
    def sources() -> Sources:
        raise UsageError("PIP_CERT names a file that is not there: /x")

    (finding,) = doctor.registries(sources)
    assert finding.status == "missing"


def test_the_driver_and_each_gpu_are_shown() -> None:
    good = Device(index=0, name="A", uuid="GPU-0", memory_mib=16384, capability="7.5")
    lost = Device(index=1, trouble="the driver has lost it")
    found = doctor.nvidia(HostGpus(driver="550.54", cuda="12.4", devices=(good, lost)))
    assert [(finding.name, finding.status, finding.found) for finding in found] == [
        ("nvidia", "ok", "driver 550.54, for CUDA 12.4 and older; GPUs: 2"),
        ("gpu", "ok", "GPU 0 (A): 16384 MiB, compute capability 7.5"),
        ("gpu", "missing", "GPU 1: the driver has lost it"),
    ]
    assert not any(finding.needed for finding in found)


def test_a_host_without_a_driver_and_one_that_could_not_be_asked() -> None:
    (missing,) = doctor.nvidia(NoGpus(what="no driver", why="Not Loaded", hint="install it"))
    assert (missing.status, missing.found, missing.hint) == (
        "missing", "no driver: Not Loaded", "install it",
    )  # fmt: skip
    (unknown,) = doctor.nvidia(NoGpus(what="not looked at", looked_for=False))
    assert (unknown.status, unknown.found, unknown.needed) == ("not-run", "not looked at", False)
