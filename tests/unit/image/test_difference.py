"""What changes between two images; the rendered forms are in ``tests/golden/diff``.

``MLRUNTIME_GOLDEN=write`` writes them anew.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.cli import main
from mlruntime.errors import UsageError
from mlruntime.host import command
from mlruntime.image.difference import Difference, Side, difference, parse_named
from mlruntime.image.difference_tables import (
    difference_json,
    difference_markdown,
    difference_text,
    pull_text,
)
from mlruntime.image.plan import plan
from mlruntime.image.stack import parse_stack
from mlruntime.layers.gzipped import LayerBlob
from mlruntime.lock.model import Lock, Variant
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store

from tests.unit.image.test_plan import FILES, STACK, TOOLS, artifact, lock, native

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parents[2] / "golden" / "diff"


def side(name: str, of: Lock, *, built: bool = True) -> Side:
    planned = plan(of, "cpu", parse_stack(STACK, file="x"), FILES, tools=TOOLS, version="0.1.0")
    blobs = {layer.key: blob(layer.key, 1000 * len(layer.name)) for layer in planned.layers}
    return Side(name=name, lock=of, plan=planned, blobs=blobs if built else {})


def blob(content: str, size: int) -> LayerBlob:
    return LayerBlob(
        diff_id=f"sha256:{content}", digest=f"sha256:{content}", size=size, unpacked=size
    )


def newer() -> Lock:
    """Return ``lock()`` with something of everything changed."""
    old = lock()
    return replace(
        old,
        components=(("python", "3.11"), ("spark", "4.0.1"), ("tensorflow", "2.16.2")),
        omitted=(),
        os=(artifact("deb", "python3.11"), artifact("deb", "libc6", "2"), artifact("deb", "tini")),
        python=(replace(artifact("wheel", "numpy"), sha256="f" * 64),),
        jars=(artifact("jar", "io:g"),),
        variants=(
            Variant(
                name="cpu",
                python=(artifact("wheel", "tensorflow-cpu", "2"),),
                native=(replace(native("horovod"), build_depends="sha256:3"),),
            ),
        ),
    )


def changes(found: Difference, group: str) -> dict[str, tuple[str, str | None, str | None]]:
    return {c.name: (c.kind, c.a, c.b) for c in found.packages[group].changed}


def test_every_kind_of_change_of_every_ecosystem() -> None:
    found = difference(side("a", lock()), side("b", newer()))
    assert {c.name: (c.kind, c.a, c.b) for c in found.components.changed} == {
        "spark": ("changed", "3.5.9", "4.0.1"),
        "tensorflow": ("added", None, "2.16.2"),
    }
    assert changes(found, "debian") == {
        "libc6": ("changed", "1", "2"),
        "tini": ("added", None, "1"),
    }
    assert changes(found, "python") == {
        "numpy": ("remade", "1", "1"),
        "six": ("removed", "1", None),
        "tensorflow-cpu": ("changed", "1", "2"),
    }
    assert changes(found, "native") == {"horovod": ("remade", "0.28.1", "0.28.1")}
    assert changes(found, "jars") == {"io:g": ("added", None, "1")}
    assert found.packages["debian"].same == 1


def test_what_is_shared_is_not_pulled() -> None:
    found = difference(side("a", lock()), side("b", newer()))
    assert [c.name for c in found.layers if c.shared] == ["environment", "sparkdl"]
    assert found.pull.layers == (
        "os", "libc", "configured", "numpy", "rest", "horovod", "jars"
    )  # fmt: skip
    assert found.pull.size == 1000 * sum(map(len, found.pull.layers))
    assert not found.pull.unknown


def test_the_classic_store_shares_from_the_bottom_up_only() -> None:
    """It knows layers by their chain IDs: one above a layer that differs is another one."""
    a, b = side("a", lock()), side("b", newer())
    found = difference(a, b)
    assert found.classic_pull.layers == tuple(layer.name for layer in b.plan.layers)
    assert found.classic_pull.size == 1000 * sum(map(len, found.classic_pull.layers))
    assert "Docker's classic image store" in pull_text(found)
    same = difference(a, a)
    assert not same.classic_pull.layers
    assert pull_text(same).startswith("Nothing to pull")
    jars = replace(lock(), jars=(artifact("jar", "io:g"),))
    above = difference(a, side("b", jars))  # a layer more in the middle
    assert above.pull.layers == ("jars",)
    assert above.classic_pull.layers == ("jars", "sparkdl")
    gone = difference(side("b", jars), a)
    assert not gone.pull.layers
    assert gone.classic_pull.layers == ("sparkdl",)
    assert "pulls 7.0 kB in 1 layers" in pull_text(gone)


def test_the_size_of_what_was_not_built_is_not_guessed() -> None:
    found = difference(side("a", lock()), side("b", newer(), built=False))
    assert found.pull.size == 0
    assert found.pull.unknown == found.pull.layers
    assert "whose size is not known" in pull_text(found)
    assert difference_json(found)["layers"][0]["b"]["size"] is None


def test_other_keys_with_the_same_bytes_are_shared() -> None:
    b = side("b", newer())
    a = side("a", lock())
    same = {layer.key: blob("same", 5) for s in (a, b) for layer in s.plan.layers[:1]}
    found = difference(replace(a, blobs=same), replace(b, blobs=same))
    assert found.layers[0].name == "os"
    assert found.layers[0].shared


FORMS = {"txt": difference_text, "md": difference_markdown}


@pytest.mark.parametrize("built", [True, False], ids=["built", "not-built"])
@pytest.mark.parametrize("form", ["txt", "md", "json"])
def test_the_rendered_forms(form: str, built: bool) -> None:
    found = difference(side("6.0-ml:cpu", lock()), side("7.0-ml:cpu", newer(), built=built))
    if form == "json":
        text = json.dumps(difference_json(found), indent=1) + "\n"
    else:
        text = FORMS[form](found) + "\n"
    path = GOLDEN / f"{'built' if built else 'not-built'}.{form}"
    if os.environ.get("MLRUNTIME_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


VERSIONS = st.dictionaries(
    st.sampled_from(["libc6", "tini", "bash", "python3.11"]), st.sampled_from("123")
)


def with_system(packages: Mapping[str, str]) -> Lock:
    system: tuple[Artifact, ...] = tuple(artifact("deb", n, v) for n, v in packages.items())
    return replace(lock(), os=system)


@given(VERSIONS, VERSIONS)
def test_a_difference_read_backwards(before: dict[str, str], after: dict[str, str]) -> None:
    # The stack has a layer for it.
    before, after = {"libc6": "1", **before}, {"libc6": "1", **after}
    a, b = side("a", with_system(before)), side("b", with_system(after))
    there, back = difference(a, b), difference(b, a)
    turned = {"added": "removed", "removed": "added"}
    assert [(turned.get(c.kind, c.kind), c.b, c.a) for c in there.packages["debian"].changed] == [
        (c.kind, c.a, c.b) for c in back.packages["debian"].changed
    ]
    changed = there.packages["debian"].changed
    assert {c.name for c in changed} == {
        n for n in before.keys() | after.keys() if before.get(n) != after.get(n)
    }
    assert there.packages["debian"].same + len(changed) == len(before.keys() | after.keys())
    assert not difference(a, a).pull.layers


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("6.0-ml", ("6.0-ml", None, "cpu")),
        ("6.0-ml:gpu", ("6.0-ml", None, "gpu")),
        ("6.0-ml@HEAD~2:gpu", ("6.0-ml", "HEAD~2", "gpu")),
        ("./a/lock.json", ("./a/lock.json", None, "cpu")),
    ],
)
def test_names_of_sides(text: str, parts: tuple[str, str | None, str]) -> None:
    named = parse_named(text)
    assert (named.what, named.revision, named.variant) == parts
    assert parse_named(named.text) == named


@pytest.mark.parametrize("text", ["", ":cpu", "6.0-ml:", "6.0-ml:gpus", "6.0-ml@", "@HEAD"])
def test_what_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_named(text)


# the verb


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["--root", str(ROOT), "diff", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLRUNTIME_STORE", str(tmp_path / "store"))


def test_a_runtime_and_a_copy_of_its_lock(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = tmp_path / "lock.json"
    shutil.copy(ROOT / "runtimes/6.0-ml/lock.json", copy)
    code, out, err = run(capsys, "6.0-ml", str(copy))
    assert (code, err) == (0, "")
    assert "Nothing to pull" in out
    code, out, _ = run(capsys, "6.0-ml", str(copy), "--json")
    assert json.loads(out)["pull"] == {"size": 0, "layers": [], "unknown": []}


def test_sizes_come_from_the_store(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = run(capsys, "6.0-ml", "6.0-ml", "--json")
    first = json.loads(out)["layers"][0]
    assert first["b"]["size"] is None
    store, content = Store(tmp_path / "store"), tmp_path / "blob"
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    content.write_bytes(b"test")
    store.adopt_blob(content, digest)
    made = LayerBlob(diff_id="sha256:1", digest=f"sha256:{digest}", size=4, unpacked=4)
    store.write_record("layers", first["b"]["key"], json.dumps(asdict(made)))
    _, out, _ = run(capsys, "6.0-ml", "6.0-ml", "--json")
    assert json.loads(out)["layers"][0]["b"]["size"] == 4


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("6.0-ml", "6.1-ml"), 2, "did you mean '6.0-ml'?"),
        (("6.0-ml", "6.0-ml:gpus"), 2, "no variant 'gpus'"),
        (("6.0-ml", "nowhere/lock.json"), 2, "there is no lock file nowhere/lock.json"),
        (("6.0-ml",), 2, "Missing argument 'B'"),
    ],
)
def test_bad_words(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, message: str
) -> None:
    found, out, err = run(capsys, *words)
    assert (found, out) == (code, "")
    assert message in err


@pytest.mark.starts
def test_the_lock_of_a_git_revision(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = tmp_path / "own"
    shutil.copytree(ROOT / "images", root / "images")
    (root / "runtimes/6.0-ml").mkdir(parents=True)
    for name in ("matrix.yaml", "runtimes/6.0-ml/runtime.yaml", "runtimes/6.0-ml/lock.json"):
        shutil.copy(ROOT / name, root / name)
    git = ["git", "-C", str(root), "-c", "user.name=x", "-c", "user.email=x"]
    command.run([*git, "init", "-q"])
    command.run([*git, "add", "."])
    command.run([*git, "commit", "-qm", "x"])
    path = root / "runtimes/6.0-ml/lock.json"
    text = path.read_text(encoding="utf-8")
    spark = json.loads(text)["components"]["spark"]
    path.write_text(text.replace(f'"spark": "{spark}"', '"spark": "3.5.0"'), encoding="utf-8")
    assert main(["--root", str(root), "diff", "6.0-ml@HEAD", "6.0-ml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["components"] == [
        {"component": "spark", "change": "changed", "a": spark, "b": "3.5.0"}
    ]
    assert main(["--root", str(root), "diff", "6.0-ml@nowhere", "6.0-ml"]) == 2
    assert "git has no runtimes/6.0-ml/lock.json in revision 'nowhere'" in capsys.readouterr().err

    # Today's layers name a package that the lock of then has not; that one had its own.
    layers = root / "images" / "layers.yaml"
    layers.write_text(layers.read_text().replace("libc6,", "libc6, nothing-like-that,"))
    assert main(["--root", str(root), "diff", "6.0-ml@HEAD", "6.0-ml@HEAD"]) == 0
    assert main(["--root", str(root), "diff", "6.0-ml@HEAD", "6.0-ml"]) == 4
    assert "nothing-like-that" in capsys.readouterr().err

    path.write_text(text.replace('"format": 5', '"format": 1'), encoding="utf-8")
    command.run([*git, "commit", "-qam", "old"])
    assert main(["--root", str(root), "diff", "6.0-ml@HEAD", "6.0-ml@HEAD~1"]) == 4
    assert capsys.readouterr().err == (
        "mlruntime: HEAD: runtimes/6.0-ml/lock.json: format: lock format 1 is that of an older"
        " mlruntime; this one reads formats 2 to 6\n"
        "  try: another release of mlruntime may have written this revision: use that one for it\n"
    )


@pytest.mark.starts
def test_a_folder_that_git_does_not_trust_or_know(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "matrix.yaml", tmp_path)
    words = ["--root", str(tmp_path), "diff", "6.0-ml@HEAD", "6.0-ml@HEAD"]
    assert main(words) == 2
    assert f"{tmp_path} is not in a git repository" in capsys.readouterr().err
    command.run(["git", "-C", str(tmp_path), "init", "-q"])
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to try this
    assert main(words) == 2
    assert f"git config --global --add safe.directory {tmp_path}" in capsys.readouterr().err
