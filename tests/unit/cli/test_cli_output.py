"""What goes where: results to stdout, progress and logs to stderr, and how much of them."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlruntime.cli import logs, main
from mlruntime.cli.output import say, warn
from mlruntime.cli.progress import ProgressLines, downloads

ROOT = Path(__file__).parents[3]
RESOLVE = ("--root", str(ROOT), "resolve", "6.0-ml")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    logs.show()
    root.handlers[:] = before


@pytest.mark.starts
@pytest.mark.parametrize("words", ["matrix show --rules", "resolve 6.0-ml --json"])
def test_a_full_disk_under_stdout_is_told(words: str) -> None:
    """The first is more than a buffer, the second less: it fails when it is flushed at the end."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mlruntime", "--root", ROOT, *words.split()],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 6
    assert done.stderr == (
        "mlruntime: stdout cannot be written\n  why: No space left on device\n"
        "  try: the result is not complete\n"
    )


def test_nothing_is_logged_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(RESOLVE) == 0
    assert capsys.readouterr().err == ""


def test_more_and_more_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("-v", *RESOLVE)) == 0
    once = capsys.readouterr()
    assert f"INFO mlruntime.cli: definitions in {ROOT}\n" == once.err
    assert main(("-vv", *RESOLVE)) == 0
    twice = capsys.readouterr()
    assert "DEBUG mlruntime.workflows.inputs: " in twice.err
    assert once.out == twice.out != ""


def test_quiet_keeps_errors_and_warnings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("half of it")
    assert capsys.readouterr().err == "mlruntime: half of it\n"
    assert main(("--quiet", "--root", str(ROOT), "resolve", "6.0-lm")) == 2
    assert "there is no runtime '6.0-lm'" in capsys.readouterr().err
    say("the other half")
    with downloads(say) as progress:
        assert isinstance(progress, ProgressLines)
    logging.getLogger("mlruntime.x").warning("odd")
    assert capsys.readouterr().err == ""
    warn("not supported any more")
    assert capsys.readouterr().err == "mlruntime: warning: not supported any more\n"


def test_no_password_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.show(verbose=1)
    url = "https://me:pa:ss%40@index.example/simple/"
    logging.getLogger("httpx").info("HTTP Request: GET %s", url)
    logging.getLogger("mlruntime.x").info("uv --index %s", url)
    err = capsys.readouterr().err
    assert err.count("https://index.example/simple/") == 2
    assert "pa" not in err.replace("simple", "")
