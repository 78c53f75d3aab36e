"""What is said while files are downloaded."""

import io

import pytest
from mlruntime.cli.progress import EVERY, Bars, ProgressLines, downloads
from rich.console import Console
from rich.progress import Progress


def test_lines_come_now_and_then_and_count_everything() -> None:
    now, said = [0.0], list[str]()
    lines = ProgressLines(said.append, lambda: now[0])
    lines.started("a", 5_000_000)
    lines.advanced("a", 3_000_000)
    assert said == []
    now[0] = EVERY
    lines.advanced("a", 2_000_000)
    lines.advanced("a", -1_000_000)
    lines.finished("a")
    assert said == ["downloaded 5 MB, 0 files complete"]
    now[0] = 2 * EVERY
    lines.finished("b")
    assert said[1:] == ["downloaded 4 MB, 2 files complete"]


def test_bars_come_and_go() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with Progress(console=console) as shown:
        bars = Bars(shown)
        bars.started("thing[x].whl", 10)
        bars.advanced("thing[x].whl", 4)
        assert [(task.description, task.completed) for task in shown.tasks] == [("thing[x].whl", 4)]
        bars.finished("thing[x].whl")
        bars.finished("was there all along")
        assert shown.tasks == []


@pytest.mark.parametrize(("terminal", "kind"), [(True, Bars), (False, ProgressLines)])
def test_bars_only_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, kind: type
) -> None:
    def console(**_: object) -> Console:
        return Console(file=io.StringIO(), force_terminal=terminal)

    monkeypatch.setattr("rich.console.Console", console)
    with downloads(lambda _: None) as shown:
        assert isinstance(shown, kind)
