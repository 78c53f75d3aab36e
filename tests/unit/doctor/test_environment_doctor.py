"""Whether a host runs an environment: what it lacks is told, with what to do about it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.cli import main
from mlruntime.doctor.environments import Answered, Needs, examine_environment, features_of
from mlruntime.doctor.findings import Finding
from mlruntime.environment.description import read_description, write_description
from mlruntime.host.gpus import NoGpus
from mlruntime.host.system import System
from mlruntime.workflows.examining import examine_here
from msgspec import structs

from tests.unit.environment.test_environment import JVM, World

V2 = frozenset(["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"])
V3 = V2 | frozenset(["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"])
V4 = V3 | frozenset(["avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"])
GOOD = System(machine="x86_64", glibc="2.41", kernel="6.1.0-9-amd64", features=V3)
NEEDS = Needs(
    machine="x86_64",
    features=features_of(["spark", "tensorflow"]),
    glibc="2.34",
    python="3.11",
    java="17",
)


def found(
    system: System = GOOD, python: str = "3.11.7", java: str = "17.0.21", trouble: str = ""
) -> dict[str, Finding]:
    told = (Answered(version=python, trouble=trouble), Answered(version=java))
    return {f.name: f for f in examine_environment(NEEDS, system, *told, "mend it")}


def test_a_host_with_everything() -> None:
    every = found()
    assert list(every) == ["processor", "glibc", "python", "java"]
    assert all(one.status == "ok" and one.hint is None for one in every.values())


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("processor", {"system": replace(GOOD, features=V2)}, "x86_64_v2, tensorflow needs avx"),
        ("processor", {"system": replace(GOOD, machine="aarch64")}, "aarch64; what is locked"),
        ("glibc", {"system": replace(GOOD, glibc="2.31")}, "2.31 (needed: 2.34 or newer)"),
        ("glibc", {"system": replace(GOOD, glibc="")}, "another C library"),
        ("python", {"python": "3.12.1"}, "3.12.1; the lock has 3.11"),
        ("python", {"python": "3.1"}, "3.1; the lock has 3.11"),
        ("python", {"trouble": "it could not be started"}, "it could not be started"),
        ("java", {"java": "21.0.1"}, "21.0.1; the lock has 17"),
    ],
)
def test_what_is_missing_is_told(name: str, changed: dict[str, object], said: str) -> None:
    every = found(**changed)  # type: ignore[arg-type]
    assert every[name].status == "missing" and every[name].needed
    assert said in every[name].found
    assert every[name].hint
    assert [n for n, one in every.items() if one.status != "ok"] == [name]


def test_a_processor_that_does_not_tell_is_not_held_against_the_host() -> None:
    one = found(system=replace(GOOD, features=frozenset()))["processor"]
    assert (one.status, one.needed) == ("not-run", False)


@pytest.mark.parametrize(
    ("features", "level"),
    [
        ((), "x86_64"),
        (V2, "x86_64_v2"),
        (V3, "x86_64_v3"),
        (V4, "x86_64_v4"),
        (V4 - {"fma"}, "x86_64_v2"),
    ],
)
def test_levels_of_processors(features: frozenset[str], level: str) -> None:
    assert replace(GOOD, features=frozenset(features)).level == level


def test_virtual_packages_are_conda_s() -> None:
    assert GOOD.virtual_packages("12.4") == {
        "__linux": "6.1.0",
        "__glibc": "2.41",
        "__archspec": "x86_64_v3",
        "__cuda": "12.4",
    }
    assert set(replace(GOOD, glibc="").virtual_packages()) == {"__linux", "__archspec"}


def test_rattler_finds_the_same_of_this_host() -> None:
    rattler = pytest.importorskip("rattler")
    theirs = {p.name.normalized: p for p in map(generic, rattler.VirtualPackage.detect())}
    ours = System.here().virtual_packages()
    assert str(theirs["__glibc"].version) == ours["__glibc"]
    assert str(theirs["__linux"].version) == ours["__linux"]


def generic(package: object) -> object:
    return package.into_generic()  # type: ignore[attr-defined]


def no_gpus() -> NoGpus:
    return NoGpus(what="no driver")


def with_java(root: Path) -> Path:
    """Give an environment a Java that says its version."""
    java = root / JVM / "bin" / "java"
    java.unlink()
    java.write_text("#!/bin/sh\necho openjdk 17.0.21 2026-10-20\necho more\n")
    java.chmod(0o755)
    return java


@pytest.mark.starts
def test_an_environment_is_asked_itself(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    root = tmp_path / "ml"
    world.create(root)
    java = with_java(root)
    here = System.here()
    good = examine_here(root, here, no_gpus)
    assert [(f.name, f.status) for f in good.findings][2:] == [("python", "ok"), ("java", "ok")]
    assert good.able
    java.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    bad = {f.name: f for f in examine_here(root, here, no_gpus).findings}
    assert bad["java"].found.endswith("exited with 3: broken")
    (root / "bin" / "python").unlink()
    bad = {f.name: f for f in examine_here(root, here, no_gpus).findings}
    assert "could not be started" in bad["python"].found
    assert f"mlruntime env repair {root}" in str(bad["python"].hint)


@pytest.mark.starts
def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path / "world")
    root = tmp_path / "ml"
    world.create(root)
    with_java(root)
    assert main(["env", "doctor", str(root), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["virtual_packages"]["__glibc"] == System.here().glibc
    made = read_description(root)
    write_description(root, structs.replace(made, glibc="99.0", path="/elsewhere"))
    assert main(["env", "doctor", str(root)]) == 6
    out = capsys.readouterr().out
    assert "this host cannot run 9.0-ml (cpu)" in out
    assert "it was made in /elsewhere" in out
    assert "needed: 99.0 or newer" in out
