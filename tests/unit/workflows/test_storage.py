"""``mlruntime store``: what is needed stays, what is carried elsewhere arrives whole."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlruntime.cli import main
from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.native import build as native
from mlruntime.errors import HashMismatch, MlruntimeError, Unavailable, UsageError
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact
from mlruntime.store.contents import entries
from mlruntime.store.store import Store
from mlruntime.workflows.host import Host
from mlruntime.workflows.store.storage import prune, verify
from mlruntime.workflows.store.transfer import export, take_in
from mlruntime.workflows.store.uses import artifacts_of

from tests.unit.cli.test_cli_errors import root as root
from tests.unit.lock.test_lock import tiny

LONG_AGO = 1_000_000_000.0


def content(artifact: Artifact) -> bytes:
    return f"bytes of {artifact.filename}".encode()


def real(artifact: Artifact) -> Artifact:
    return replace(
        artifact,
        sha256=hashlib.sha256(content(artifact)).hexdigest(),
        size=len(content(artifact)),
    )


def lock() -> Lock:
    """Return a lock whose artifacts have bytes: those that ``content`` gives."""
    made = tiny()

    def group(found: Iterable[Artifact]) -> tuple[Artifact, ...]:
        return tuple(real(a) for a in found)

    variants = tuple(
        replace(
            v,
            python=group(v.python),
            native=tuple(
                replace(
                    w,
                    sdist=real(w.sdist),
                    link_against=group(w.link_against),
                    requirements=group(w.requirements),
                )
                for w in v.native
            ),
        )
        for v in made.variants
    )
    return replace(
        made,
        components=tuple(sorted({**dict(made.components), "python": "3.11.2"}.items())),
        os=group(made.os),
        build_depends=group(made.build_depends),
        python=group(made.python),
        jars=group(made.jars),
        variants=variants,
    )


def keep(store: Store, data: bytes) -> str:
    sha256 = hashlib.sha256(data).hexdigest()
    with store.scratch() as scratch:
        path = scratch / "file"
        path.write_bytes(data)
        store.keep_blob(path, sha256)
    return sha256


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def host(store: Store) -> Host:
    def fetch(wanted: Iterable[Artifact]) -> Mapping[str, Path]:
        for artifact in wanted:
            keep(store, content(artifact))
        return {a.sha256: store.blob(a.sha256) or Path() for a in wanted}

    def never(*_: object) -> Any:
        raise AssertionError("not needed to carry files")

    return Host(store=store, fetch=fetch, registries=never, engine=never, say=lambda _: None)


def compiled(store: Store, made: Lock) -> str:
    """Put a built native wheel into the store; return its sha256."""
    (wheel,) = {w.key: w for v in made.variants for w in v.native}.values()
    sha256 = keep(store, b"a wheel")
    record = {"filename": f"{wheel.name}-{wheel.version}-cp311-cp311-linux.whl", "sha256": sha256}
    store.write_record("native", native.record_key(wheel), json.dumps(record))
    return sha256


def definitions(root: Path, made: Lock) -> Definitions:
    folder = root / "runtimes" / made.runtime
    folder.mkdir(parents=True)
    (folder / "runtime.yaml").write_text("", encoding="utf-8")
    (folder / "lock.json").write_text(made.to_json(), encoding="utf-8")
    (root / "images").mkdir()
    (root / "images" / "layers.yaml").write_text(
        "layers: []\n"
        'config: {user: "1", workdir: /, entrypoint: [x], command: [x], environment: {}}\n',
        encoding="utf-8",
    )
    return Definitions(root)


# what stays


def test_prune_keeps_what_a_lock_needs_and_removes_the_rest(store: Store, tmp_path: Path) -> None:
    made = lock()
    needed = {keep(store, content(a)) for a in artifacts_of(made)} | {compiled(store, made)}
    stray = keep(store, b"of a runtime that nobody has any more")
    store.write_record("layers", "old", json.dumps({"digest": f"sha256:{stray}"}))
    store.partial("0" * 64).write_bytes(b"half a download")
    own = definitions(tmp_path / "own", made)
    told = prune(own, store, now=LONG_AGO, days=30, dry_run=True)
    assert {e.name for e in told.removed} == {stray, "old", "0" * 64}
    assert store.blob(stray) is not None, "a dry run removes nothing"
    assert prune(own, store, now=LONG_AGO, days=30, dry_run=False) == told
    assert {e.name for e in entries(store) if e.kind == "blobs"} == needed
    assert store.record("layers", "old") is None


def test_prune_keeps_what_was_built_lately_wherever_its_lock_is(
    store: Store, tmp_path: Path
) -> None:
    elsewhere = keep(store, b"of an image of another team")
    note = store.write_record("uses", "x", json.dumps({"needs": [["blobs", elsewhere]]}))
    own = definitions(tmp_path / "own", lock())
    os.utime(note, (LONG_AGO, LONG_AGO))
    day = 86_400
    assert not prune(own, store, now=LONG_AGO + 29 * day, days=30, dry_run=False).removed
    gone = prune(own, store, now=LONG_AGO + 31 * day, days=30, dry_run=False).removed
    assert {(e.kind, e.name) for e in gone} == {("blobs", elsewhere), ("uses", "x")}


def test_a_lock_that_cannot_be_read_removes_nothing(store: Store, tmp_path: Path) -> None:
    own, stray = definitions(tmp_path / "own", lock()), keep(store, b"x")
    own.lock_path("0.1-ml").write_text("{", encoding="utf-8")
    with pytest.raises(MlruntimeError):
        prune(own, store, now=LONG_AGO, days=0, dry_run=False)
    assert store.blob(stray) is not None


def test_nothing_is_removed_while_somebody_builds(store: Store, tmp_path: Path) -> None:
    own, stray = definitions(tmp_path / "own", lock()), keep(store, b"x")
    with store.shared(), store.shared(), pytest.raises(Unavailable, match="in use"):
        prune(own, store, now=LONG_AGO, days=0, dry_run=False)
    assert store.blob(stray) is not None
    assert prune(own, store, now=LONG_AGO, days=0, dry_run=False).removed


def test_verify_removes_what_is_damaged(store: Store) -> None:
    good, bad = keep(store, b"good"), keep(store, b"bad")
    path = store.blob(bad)
    assert path is not None
    path.write_bytes(b"bat")
    (path.parent / "link").symlink_to(path)
    found = verify(store, lambda _: None)
    assert {e.name for e in found.damaged} == {bad, "link"}
    assert [e.name for e in entries(store)] == [good]


# what is carried elsewhere


def test_what_is_exported_is_imported_whole(store: Store, tmp_path: Path) -> None:
    made = lock()
    wheel = compiled(store, made)
    done = export([made], (), host(store), tmp_path / "out")
    assert not done.uncompiled
    other = Store(tmp_path / "other")
    first, second = take_in(tmp_path / "out", other), take_in(tmp_path / "out", other)
    assert (first.files, first.known, first.locks) == (done.files, 0, ("0.1-ml",))
    assert (second.files, second.known, second.size) == (done.files, done.files, 0)
    for artifact in artifacts_of(made):
        path = other.blob(artifact.sha256)
        assert path is not None and path.read_bytes() == content(artifact)
    (recipe,) = {w.key: w for v in made.variants for w in v.native}.values()
    built = native.built(other, recipe)
    assert built is not None and built.sha256 == wheel
    assert not [e for e in entries(other) if e.kind == "partial"]


def test_an_export_of_one_variant_has_the_files_of_that_one(store: Store, tmp_path: Path) -> None:
    made = lock()
    name = made.variants[0].name
    export([made], (name,), host(store), tmp_path / "out")
    names = {p.name for p in (tmp_path / "out" / "blobs" / "sha256").iterdir()}
    assert names == {a.sha256 for a in artifacts_of(made, (name,))}


def test_a_wheel_that_has_not_been_compiled_is_told(store: Store, tmp_path: Path) -> None:
    assert export([lock()], (), host(store), tmp_path / "out").uncompiled == ("horovod 0.28.1",)


def test_nothing_is_written_over(store: Store, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "theirs").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="not empty"):
        export([lock()], (), host(store), tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["theirs"]


def damaged(out: Path) -> None:
    path = min((out / "blobs" / "sha256").iterdir())
    path.write_bytes(b"other bytes")


def missing(out: Path) -> None:
    min((out / "blobs" / "sha256").iterdir()).unlink()


def linked(out: Path) -> None:
    path = min((out / "blobs" / "sha256").iterdir())
    path.unlink()
    path.symlink_to("/etc/hostname")


def climbing(out: Path) -> None:
    index = json.loads((out / "index.json").read_text(encoding="utf-8"))
    index["files"][0]["sha256"] = "../../../etc/passwd"
    (out / "index.json").write_text(json.dumps(index), encoding="utf-8")


def newer(out: Path) -> None:
    (out / "index.json").write_text('{"format": 99}', encoding="utf-8")


def rubbish(out: Path) -> None:
    (out / "index.json").write_text(
        '{"format": 1, "locks": [], "files": 7, "native": []}', encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("harm", "error", "says"),
    [
        (damaged, HashMismatch, "is damaged"),
        (missing, UsageError, "is missing from the export"),
        (linked, UsageError, "is missing from the export"),
        (climbing, UsageError, "a sha256 in lower-case hex"),
        (newer, UsageError, "format 99 is not known"),
        (rubbish, UsageError, "expected a list"),
    ],
)
def test_what_is_not_right_does_not_come_in(
    store: Store, tmp_path: Path, harm: Any, error: type[MlruntimeError], says: str
) -> None:
    export([lock()], (), host(store), tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "carried")
    harm(tmp_path / "carried")
    other = Store(tmp_path / "other")
    with pytest.raises(error, match=says):
        take_in(tmp_path / "carried", other)
    assert not verify(other, lambda _: None).damaged


# the verbs


def test_the_verbs(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def run(*words: str, code: int = 0) -> Any:
        assert main(["--root", str(root), "store", *words]) == code
        return capfd.readouterr()

    assert main(["--root", str(root), "build", "0.1-ml"]) == 0
    capfd.readouterr()
    assert json.loads(run("list", "--json").out)["runtimes"][0]["runtime"] == "0.1-ml"
    kinds = {k["kind"]: k["count"] for k in json.loads(run("size", "--json").out)["kinds"]}
    assert (kinds["layers"], kinds["uses"]) == (1, 1)
    assert "all are what they should be" in run("verify").out
    pruned = json.loads(run("prune", "--json").out)
    assert pruned["removed"] == [] and pruned["kept"], "what was just built is in use"
    assert "there is no lock file" in run("export", "no/such", "--output", "x", code=2).err
    assert "has no variant 'gpu'" in run(
        "export", "0.1-ml", "--variant", "gpu", "--output", "x", code=2
    ).err  # fmt: skip
    assert "is not an export" in run("import", str(root), code=2).err
