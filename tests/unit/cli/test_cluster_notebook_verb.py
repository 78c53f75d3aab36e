"""`mlruntime cluster notebook`: what it refuses before it asks anybody, and what it prints."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
from mlruntime.cli import main
from mlruntime.cluster.notebook import NotebookOptions, OpenNotebook

ADDRESS = "http://localhost:8888/lab?token=a1"
FORWARD = "kubectl port-forward pod/a-notebook-x 8888"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--dir", "notebooks"], "--dir notebooks is not the absolute path"),
        (["--dir", "/data/../home"], "--dir /data/../home is not the absolute path"),
        (["--stop", "--port", "8888"], "--stop takes no other options"),
        (["--spark", "master=x"], "'master=x' is not a setting"),
        (["--on", "hosts"], "clusters do not run on 'hosts'"),
        (["--namespace", "ml"], "--namespace is for --on kubernetes"),
    ],
)
def test_what_is_wrong_is_told_first(
    words: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cluster", "notebook", *words, "a"]) == 2
    assert what in capsys.readouterr().err


class Place:
    """A place whose cluster ``a`` has a notebook server, once it is asked for."""

    def __init__(self, forward: str | None) -> None:
        self.forward = forward
        self.asked: list[Any] = []

    def notebook(self, name: str, wanted: NotebookOptions) -> OpenNotebook:
        self.asked.append((name, wanted))
        return OpenNotebook(address=ADDRESS, started=True, forward=self.forward)

    def stop_notebook(self, name: str) -> None:
        self.asked.append(name)


@pytest.fixture(params=[None, FORWARD])
def there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    found = Place(request.param)

    @contextmanager
    def place(*_: object) -> Iterator[Place]:
        yield found

    monkeypatch.setattr(import_module("mlruntime.cli.cluster.notebook"), "place", place)
    return found


def test_the_address_is_the_last_line(there: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "notebook", "--dir", "/data/me/", "--port", "9000", "a"]) == 0
    assert there.asked == [("a", NotebookOptions(port=9000, directory="/data/me"))]
    told = capsys.readouterr()
    assert told.out.splitlines() == [*([FORWARD] if there.forward else []), ADDRESS]
    assert not told.err
    assert main(["cluster", "notebook", "--json", "a"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {
        "cluster": "a", "address": ADDRESS, "forward": there.forward, "started": True,
    }  # fmt: skip
    assert "--dir keeps them" in told.err


def test_it_is_stopped(there: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "notebook", "--stop", "a"]) == 0
    assert there.asked == ["a"]
    assert capsys.readouterr().out == "cluster a: no notebook server\n"
