"""What ``doctor`` makes of hosts that lack something."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from builder import doctor
from builder.cli.doctor import table
from builder.doctor import Finding, can_build
from builder.engine import EngineInfo
from builder.errors import Unavailable, UsageError
from builder.sources import Sources

OK = Finding(name="x", status="ok", found="here")


def engine_with(memory: int) -> doctor.Engine:
    class Fake:
        def __enter__(self) -> "Fake":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def info(self) -> EngineInfo:
            return EngineInfo(version="20.10", api="1.41", kernel="6.1", cpus=2, memory=memory)

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
    _, memory = doctor.engine(lambda: engine_with(gigabytes << 30))
    assert memory.status == status


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


def test_nvidia() -> None:
    def absent(name: str) -> object:
        raise ImportError

    assert doctor.nvidia(absent).status == "not-run"
    ended: list[bool] = []
    fake = SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: ended.append(True),
        nvmlSystemGetDriverVersion=lambda: "550.54",
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda handle: "Fake",
    )
    assert doctor.nvidia(lambda name: fake).found == "driver 550.54, 1 GPUs: Fake"
    assert ended

    def fail() -> None:
        raise RuntimeError("Driver Not Loaded")

    fake.nvmlInit = fail
    missing = doctor.nvidia(lambda name: fake)
    assert (missing.status, missing.needed) == ("missing", False)
