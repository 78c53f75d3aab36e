"""The lock file: the same bytes from the same lock, back again, and every way to be malformed."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.errors import InvalidLock
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock, Variant
from mlruntime.lock.packages import Artifact, DummyPackage, NativeWheel, Omission, set_digest

GOLDEN = Path(__file__).parents[2] / "golden" / "lock"


def artifact(name: str, kind: str = "wheel", version: str = "1.0", **words: Any) -> Artifact:
    ending = {"wheel": "-py3-none-any.whl", "sdist": ".tar.gz", "jar": ".jar", "deb": "_amd64.deb"}
    values = {
        "filename": f"{name.partition(':')[2] or name}-{version}{ending[kind]}",
        "size": len(name) * 1000,
        "sha256": f"{sum(name.encode()):064x}",
        "origin": {"deb": f"debian:bookworm:pool/main/{name}.deb", "jar": "maven"}.get(
            kind, "pypi"
        ),
    }
    return Artifact(kind=kind, name=name, version=version, **(values | words))


def tiny() -> Lock:
    """Return a small lock with one of everything."""
    system = (artifact("libc6", "deb", "2.36-9"), artifact("python3.11", "deb", "3.11.2-6"))
    tensorflow = artifact("tensorflow-cpu", version="2.15.1")
    wheel = NativeWheel(
        name="horovod",
        version="0.28.1",
        python="3.11",
        sdist=artifact("horovod", "sdist", "0.28.1"),
        link_against=(tensorflow,),
        requirements=(artifact("cmake", version="3.31.10"),),
        environment=(("HOROVOD_WITH_GLOO", "1"),),
        patches=(("mend.patch", "0" * 64),),
        base=set_digest(system),
        build_depends=set_digest((*system, artifact("g++", "deb", "4:12.2.0-3"))),
    )
    return Lock(
        runtime="0.1-ml",
        inputs=(("matrix", "sha256:1"), ("runtime", "sha256:2"), ("images", "sha256:3")),
        snapshot="2026-11-20T00:00:00Z",
        components=(("horovod", "0.28.1"), ("tensorflow", "2.15.1")),
        omitted=(Omission(component="graphframes", artifact="maven:g:a:1", why="not there"),),
        os=system,
        build_depends=(artifact("g++", "deb", "4:12.2.0-3"),),
        python=(artifact("numpy", version="1.26.4"),),
        jars=(artifact("io.graphframes:graphframes-spark3_2.12", "jar", "0.11.0"),),
        variants=(
            Variant(
                name="cpu",
                python=(tensorflow,),
                native=(wheel,),
                dummy_packages=(
                    DummyPackage(name="tensorflow", version="2.15.1", by="tensorflow-cpu"),
                ),
            ),
        ),
    )


def test_the_golden_file_is_what_is_written_and_reads_back() -> None:
    text = (GOLDEN / "tiny.json").read_text(encoding="utf-8")
    assert tiny().to_json() == text
    assert parse_lock(text, file="lock.json") == tiny()


def test_a_variant_without_dummy_packages_does_not_speak_of_them() -> None:
    (cpu,) = tiny().variants
    without = replace(tiny(), variants=(replace(cpu, dummy_packages=()),))
    assert "dummy-packages" not in without.to_json()
    assert parse_lock(without.to_json(), file="lock.json") == without


def test_the_order_of_artifacts_does_not_matter() -> None:
    turned = replace(tiny(), os=tiny().os[::-1])
    assert turned.to_json() == tiny().to_json()
    assert turned.digest == tiny().digest
    assert set_digest(turned.os) == set_digest(tiny().os)


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(str.strip)
NAMES = TEXT.map(lambda text: text.replace("/", "-")).filter(lambda text: text not in (".", ".."))
SHA256 = st.text("0123456789abcdef", min_size=64, max_size=64)
ARTIFACTS = st.builds(
    Artifact,
    kind=st.sampled_from(("deb", "jar", "sdist", "wheel")),
    name=TEXT,
    version=TEXT,
    filename=NAMES,
    size=st.integers(min_value=0),
    sha256=SHA256,
    origin=TEXT,
)


def _sorted(artifacts: list[Artifact]) -> tuple[Artifact, ...]:
    return tuple(sorted(artifacts, key=lambda a: (a.name, a.version)))


GROUPS = st.lists(ARTIFACTS, max_size=3, unique_by=lambda a: (a.name, a.version)).map(_sorted)
PAIRS = st.dictionaries(TEXT, TEXT, max_size=3).map(lambda d: tuple(d.items()))
NATIVE = st.builds(
    NativeWheel,
    name=TEXT,
    version=TEXT,
    python=TEXT,
    sdist=ARTIFACTS,
    link_against=GROUPS,
    requirements=GROUPS,
    environment=PAIRS,
    patches=PAIRS,
    base=TEXT,
    build_depends=TEXT,
)
DUMMY_PACKAGES = st.lists(
    st.builds(DummyPackage, name=TEXT, version=TEXT, by=TEXT),
    max_size=2,
    unique_by=lambda s: s.name,
).map(lambda found: tuple(sorted(found, key=lambda s: s.name)))
VARIANTS = st.builds(
    Variant,
    name=TEXT,
    python=GROUPS,
    native=st.lists(NATIVE, max_size=2).map(tuple),
    dummy_packages=DUMMY_PACKAGES,
)
LOCKS = st.builds(
    Lock,
    runtime=TEXT,
    inputs=PAIRS,
    snapshot=TEXT,
    components=PAIRS,
    omitted=st.lists(st.builds(Omission, component=TEXT, artifact=TEXT, why=TEXT), max_size=2).map(
        tuple
    ),
    os=GROUPS,
    build_depends=GROUPS,
    python=GROUPS,
    jars=GROUPS,
    variants=st.lists(VARIANTS, max_size=2, unique_by=lambda v: v.name).map(tuple),
)


@given(LOCKS)
def test_every_lock_survives_the_file(lock: Lock) -> None:
    assert parse_lock(lock.to_json(), file="lock.json") == lock


@given(NATIVE, st.data())
def test_everything_a_build_uses_changes_its_key(wheel: NativeWheel, data: st.DataObject) -> None:
    other = data.draw(NATIVE)
    fields = [
        name for name in wheel.__dataclass_fields__ if getattr(wheel, name) != getattr(other, name)
    ]
    for name in fields:
        changed = replace(wheel, **{name: getattr(other, name)})
        same = name in ("sdist", "link_against", "requirements") and _hashes(changed) == _hashes(
            wheel
        )
        reordered = name == "environment" and dict(changed.environment) == dict(wheel.environment)
        assert (changed.key != wheel.key) is not (same or reordered), name


def _hashes(wheel: NativeWheel) -> tuple[str, list[str], list[str]]:
    against = sorted(a.sha256 for a in wheel.link_against)
    return wheel.sdist.sha256, against, sorted(a.sha256 for a in wheel.requirements)


def _set(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(top: dict[str, Any]) -> None:
        spot: Any = top
        for step in path[:-1]:
            spot = spot[step]
        spot[path[-1]] = value

    return change


def _drop(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(top: dict[str, Any]) -> None:
        spot: Any = top
        for step in path[:-1]:
            spot = spot[step]
        del spot[path[-1]]

    return change


NATIVE_AT = ("variants", "cpu", "native", 0)
MALFORMED: dict[str, Callable[[dict[str, Any]], None]] = {
    "no-format": _drop("format"),
    "newer-format": _set("format", value=7),
    "format-is-text": _set("format", value="1"),
    "format-is-true": _set("format", value=True),
    "unknown-key": _set("jarz", value=[]),
    "missing-key": _drop("jars"),
    "null": _set("jars", value=None),
    "list-for-mapping": _set("inputs", value=[]),
    "mapping-for-list": _set("os", value={}),
    "empty-text": _set("runtime", value="  "),
    "number-for-text": _set("components", "horovod", value=28),
    "unknown-kind": _set("os", 1, "kind", value="debs"),
    "short-sha256": _set("os", 1, "sha256", value="00"),
    "upper-case-sha256": _set("os", 1, "sha256", value="A" * 64),
    "negative-size": _set("python", 0, "size", value=-1),
    "size-is-a-fraction": _set("python", 0, "size", value=1.5),
    "directory-in-a-file-name": _set("jars", 0, "filename", value="../x.jar"),
    "file-name-is-a-directory": _set("jars", 0, "filename", value=".."),
    "artifact-without-origin": _drop("build-depends", 0, "origin"),
    "artifact-with-an-address": _set("build-depends", 0, "url", value="x"),
    "omission-without-reason": _drop("omitted", 0, "why"),
    "omission-unknown-key": _set("omitted", 0, "reason", value="x"),
    "variant-unknown-key": _set("variants", "cpu", "wheels", value=[]),
    "dummy-package-for-nobody": _drop("variants", "cpu", "dummy-packages", 0, "by"),
    "native-edited": _set(*NATIVE_AT, "environment", "HOROVOD_WITH_GLOO", value="0"),
    "native-missing-key": _drop(*NATIVE_AT, "base"),
    "native-patch-without-hash": _drop(*NATIVE_AT, "patches", 0, "sha256"),
}


def complaint(text: str) -> str:
    with pytest.raises(InvalidLock) as caught:
        parse_lock(text, file="runtimes/0.1-ml/lock.json")
    assert caught.value.exit_code == 4
    return str(caught.value)


def test_every_malformed_lock_says_where_and_what() -> None:
    said = {"not-json": complaint('{"format": 1,'), "not-a-mapping": complaint("[]")}
    for name, change in MALFORMED.items():
        top = copy.deepcopy(json.loads(tiny().to_json()))
        change(top)
        said[name] = complaint(json.dumps(top))
    shown = "".join(f"# {name}\n{text}\n\n" for name, text in said.items())
    assert shown == (GOLDEN / "malformed.txt").read_text(encoding="utf-8")


def test_an_unknown_variant_is_named_with_the_known_ones() -> None:
    with pytest.raises(InvalidLock, match="no locked variant 'gpu'") as caught:
        tiny().variant("gpu")
    assert caught.value.hint == "locked: cpu"
