"""``matrix`` and ``resolve`` as a script sees them: stdout, stderr, exit code."""

import json
from pathlib import Path

import pytest
from mlruntime.cli import main

ROOT = Path(__file__).parents[3]


def run(capsys: pytest.CaptureFixture[str], *words: str, root: Path = ROOT) -> tuple[int, str, str]:
    code = main(["--root", str(root), *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A definitions folder of one's own, with a copy of our matrix and runtime."""
    (tmp_path / "runtimes" / "6.0-ml").mkdir(parents=True)
    for name in ("matrix.yaml", "runtimes/6.0-ml/runtime.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_check_says_that_ours_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "matrix", "check")
    assert (code, err) == (0, "")
    assert out.endswith("rules: sound\n")
    code, out, _ = run(capsys, "matrix", "check", "--json")
    assert code == 0
    assert json.loads(out)["ok"] is True


def test_check_refuses_a_rule_that_makes_a_release_unusable(
    capsys: pytest.CaptureFixture[str], own: Path
) -> None:
    edit(own / "matrix.yaml", '{keras: "=={tensorflow.minor}.*"}', '{keras: "==2.15.*"}')
    edit(own / "matrix.yaml", 'requires: {python: ">=3.9,<3.12"}', 'requires: {keras: ">=3"}')
    code, out, err = run(capsys, "matrix", "check", root=own)
    assert (code, out) == (4, "")
    assert "no combination has tensorflow 2.15.1, 2.15.0.post1, 2.15.0, 2.14.1, 2.14.0" in err
    assert "matrix.yaml: rules[" in err and "].requires.keras: no combination" in err
    code, out, _ = run(capsys, "matrix", "check", "--json", root=own)
    assert code == 4
    assert json.loads(out)["problems"][0]["where"].endswith(".requires.keras")


def test_check_refuses_a_misspelt_key(capsys: pytest.CaptureFixture[str], own: Path) -> None:
    edit(own / "matrix.yaml", "evidence: documented", "evidenc: documented")
    code, out, err = run(capsys, "matrix", "check", root=own)
    assert (code, out) == (4, "")
    assert "matrix.yaml: rules[0].evidenc: unknown key 'evidenc'" in err
    assert "did you mean 'evidence'?" in err


def test_show_prints_tables_json_and_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "matrix", "show", "graphframes")
    assert (code, err) == (0, "")
    assert "Rules about graphframes" in out
    code, out, _ = run(capsys, "matrix", "show", "graphframes", "--json")
    assert json.loads(out)["components"]["graphframes"]["releases"][0] == "0.12.2"
    code, out, _ = run(capsys, "matrix", "show", "graphframes", "--markdown")
    assert "| graphframes | spark |" in out


def test_show_of_an_unknown_component(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "matrix", "show", "grafframes")
    assert (code, out) == (2, "")
    assert "did you mean 'graphframes'?" in err


def test_resolve_prints_versions_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "resolve", "6.0-ml")
    assert (code, err) == (0, "")
    assert "tensorflow   2.15.1        asked for ==2.15.*; the newest of these" in out
    code, out, _ = run(capsys, "resolve", "6.0-ml", "--json", "--set", "spark==3.5.1")
    assert code == 0
    assert json.loads(out)["versions"]["spark"] == "3.5.1"


@pytest.mark.parametrize("name", ["tf_keras", "TF.Keras", "tf-keras"])
def test_a_setting_takes_a_name_as_python_spells_it(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, out, err = run(capsys, "resolve", "7.0-ml", "--json", "--set", f"{name}==2.21.*")
    assert (code, err) == (0, "")
    assert json.loads(out)["versions"]["tf-keras"] == "2.21.0"


def test_no_solution_is_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("resolve", "6.0-ml", "--set", "tensorflow==2.16.2", "--set", "horovod===0.28.1")
    code, out, err = run(capsys, *asked)
    assert (code, out) == (3, "")
    assert "https://github.com/horovod/horovod/issues/4290" in err
    code, out, err = run(capsys, *asked, "--json")
    assert code == 3
    assert json.loads(out)["conflict"]["rules"][0]["id"] == "horovod-tensorflow"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resolve", "6.1-ml"], "did you mean '6.0-ml'?"),
        (["resolve", "6.0-ml", "--set", "tensorlow==2.15"], "did you mean 'tensorflow'?"),
        (["resolve", "6.0-ml", "--set", "tensorflow=2.15"], "is not a version specifier"),
        (["resolve"], "runtime"),
        (["matrix", "chek"], "chek"),
    ],
)
def test_usage_errors_are_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert message.lower() in err.lower()


def test_a_runtime_that_cannot_be_read(capsys: pytest.CaptureFixture[str], own: Path) -> None:
    path = own / "runtimes" / "6.0-ml" / "runtime.yaml"
    path.write_bytes(b"\xff\xfe")
    code, _, err = run(capsys, "resolve", "6.0-ml", root=own)
    assert code == 4
    assert "runtimes/6.0-ml/runtime.yaml: not UTF-8 text" in err
