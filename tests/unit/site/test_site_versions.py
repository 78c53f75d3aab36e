"""Versions that were released, on the site: from records and locks, given as files."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.cli import main
from mlruntime.lock.document import parse_lock
from mlruntime.release.channels import Record, Released
from mlruntime.release.versions import parse_version
from mlruntime.site.building import site
from mlruntime.workflows.versions import released_versions

from tests.documents import CHECKOUT, DEFINITIONS, text_of
from tests.unit.site.pages import Page, asker, contents, target

LOCK = CHECKOUT / "runtimes" / "6.0-ml" / "lock.json"
DIGEST = "sha256:" + "5" * 64


def record(folder: Path) -> Path:
    made = Record(runtime="6.0-ml")
    for text in ("6.0.0-ml", "6.0.1-ml", "6.0.2-ml"):
        version = parse_version("6.0-ml", text)
        made = made.with_version(
            Released(
                version=version,
                index=DIGEST,
                variants=(("cpu", DIGEST),),
                released="2026-11-27T12:00:00Z",
            )
        ).moved("candidate", version, at="2026-1", why="released")
    made = made.moved("stable", parse_version("6.0-ml", "6.0.1-ml"), at="2026-1", why="good")
    made = made.retiring(parse_version("6.0-ml", "6.0.0-ml"), at="2026-1", why="CVE <1>")
    path = folder / "record.json"
    path.write_text(made.to_json())
    return path


def older_lock(folder: Path) -> Path:
    """A lock as it may have been: another numpy, and pandas not there yet."""
    lock = parse_lock(text_of(LOCK), file="lock.json")
    python = tuple(
        replace(a, version="1.26.3", sha256="0" * 64) if a.name == "numpy" else a
        for a in lock.python
        if a.name != "pandas"
    )
    path = folder / "older.json"
    path.write_text(replace(lock, python=python).to_json())
    return path


def test_versions_are_listed_and_compared_with_what_is_locked_now(tmp_path: Path) -> None:
    given = [f"6.0.1-ml={older_lock(tmp_path)}"]
    found = released_versions(DEFINITIONS, [record(tmp_path)], given)
    now = next(one for one in contents().runtimes if one.id == "6.0-ml")
    told = replace(now, images=now.images[:1], versions=found[now.id])
    files = site(replace(contents(), runtimes=(told,)), asker())
    text = files["runtimes/6.0-ml.html"].decode()
    rows = re.findall(r'<tr id="(6\.0\.\d-ml)">.*?<td>(.*?)</td>', text, re.DOTALL)
    assert rows == [
        ("6.0.2-ml", "candidate"), ("6.0.1-ml", "stable"), ("6.0.0-ml", "retired: CVE &lt;1&gt;"),
    ]  # fmt: skip
    changed = files["compare/6.0-ml-cpu--6.0.1-ml-cpu.html"].decode()
    assert '<th scope="row">numpy</th><td>1.26.4</td><td>1.26.3</td><td>changed</td>' in changed
    assert re.search(r'<th scope="row">pandas</th><td>2[^<]+</td><td>–</td><td>removed', changed)  # noqa: RUF001
    assert "mlruntime diff" not in changed
    image = Page(files["images/6.0.1-ml-cpu.html"].decode()).text
    assert "as it was released in 6.0.1-ml" in image and "1.26.3" in image
    # The images of today are where they were, and every link leads somewhere.
    assert {"images/6.0-ml-cpu.html", "images/6.0.1-ml-cpu-notebook.html"} <= files.keys()
    for name in ("runtimes/6.0-ml.html", "compare/index.html", "images/6.0.1-ml-cpu.html"):
        for link in Page(files[name].decode()).links():
            assert link.startswith(("http", "data:")) or target(name, link)[0] in files, link


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--lock", "6.0.1-ml"], 2, "VERSION=FILE"),
        (["--lock", "6.0.1-ml=nowhere.json"], 4, "nowhere.json"),
        (["--lock", f"7.0.1-ml={LOCK}"], 2, "not a version of 6.0-ml"),
        (["--lock", f"6.0.1-ml={LOCK}", "--lock", f"6.0.1-ml={LOCK}"], 2, "two locks"),
        (["--record", "nowhere.json"], 2, "nowhere.json"),
        (["--record", str(LOCK)], 2, "lock.json"),
    ],
)
def test_what_is_no_version_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    output = tmp_path / "site"
    root = ["--root", str(CHECKOUT)]
    assert main([*root, "site", "--output", str(output), *words]) == code
    assert said in capsys.readouterr().err
    assert not output.exists()


def test_a_version_of_no_runtime_here_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = record(tmp_path)
    path.write_text(path.read_text().replace("6.0.", "6.1.").replace("6.0-ml", "6.1-ml"))
    words = ["site", "--output", str(tmp_path / "site"), "--record", str(path)]
    assert main(["--root", str(CHECKOUT), *words]) == 2
    assert "6.1-ml" in capsys.readouterr().err
