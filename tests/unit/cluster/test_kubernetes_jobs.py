"""Programs on a Kubernetes whose connections break, with a `kubectl` of this test."""

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.cluster.description import ClusterSpec
from mlruntime.cluster.jobs import Job
from mlruntime.cluster.kubernetes import following, jobs, patience
from mlruntime.cluster.kubernetes.following import followed
from mlruntime.cluster.kubernetes.jobs import submit
from mlruntime.cluster.kubernetes.kubectl import Kubectl, NoAnswer, NotThere
from mlruntime.cluster.kubernetes.patience import Unanswered, patiently
from mlruntime.cluster.kubernetes.standing import KubernetesCluster
from mlruntime.cluster.running import ClusterFailed
from mlruntime.definitions.files import Definitions
from mlruntime.errors import CommandFailed, Unavailable
from mlruntime.workflows.cluster.describing import cluster_templates

from tests.conftest import CHECKOUT

BEGUN = datetime(2026, 1, 31, 23, 59, 58, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (following, jobs, patience):
        monkeypatch.setattr(module, "PAUSE", 0.0)


def stamped(after: int, text: str, zone: str = "Z") -> str:
    """Return a line as ``kubectl logs --timestamps`` prints it, so many ms after the beginning."""
    at = BEGUN + timedelta(milliseconds=after)
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}000{zone} {text}"


class Log:
    """A ``Kubectl`` for one log; each of ``cuts`` is after how many characters it breaks."""

    def __init__(self, lines: list[str], cuts: list[tuple[int, bool]]) -> None:
        self.lines, self.cuts, self.asked = lines, list(cuts), 0

    def pieces(self, *words: str) -> Iterator[str]:
        self.asked += 1
        since = next((w.partition("=")[2] for w in words if w.startswith("--since-time=")), None)
        text = "".join(
            line
            for line in self.lines
            if since is None
            or datetime.fromisoformat(line[:19] + "+00:00") >= datetime.fromisoformat(since)
        )
        if not self.cuts:
            yield from text.splitlines(keepends=True)
            return
        after, silently = self.cuts.pop(0)
        yield from text[:after].splitlines(keepends=True)
        if not silently:
            raise CommandFailed("kubectl exited with 1", why="http2: client connection lost")

    def ended(self) -> int | None:
        return None if self.cuts else 7


def read(log: Log) -> tuple[list[str], int]:
    kube: Any = log
    follower, found = followed(kube, "pod", "job", log.ended), []
    while True:
        try:
            found.append(next(follower))
        except StopIteration as end:
            return found, end.value


# Times of two streams may be written in another order, within less than a second.
TIMES = st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), max_size=12)


@given(
    TIMES,
    st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=4),
    st.sampled_from(["\n", ""]),
)
def test_each_line_comes_once_wherever_the_connection_breaks(
    times: list[tuple[int, int]], cuts: list[tuple[int, bool]], end: str
) -> None:
    """Also those of one time, and equal ones, and when nobody says that it broke."""
    now, lines = 0, []
    for number, (step, before) in enumerate(times):
        now += step
        lines.append(stamped(max(0, now - before), f"line {number // 3}\n"))
    if lines:
        lines[-1] = lines[-1].rstrip("\n") + end
    found, code = read(Log(lines, cuts))
    assert found == [line.partition(" ")[2].rstrip("\n") for line in lines]
    assert code == 7


def test_what_is_between_carriage_returns_has_no_time_of_its_own() -> None:
    lines = [stamped(0, "a\n") + "10%\n" + "20%\n", stamped(0, "b\n"), stamped(1500, "\n")]
    for cut in range(len("".join(lines))):
        assert read(Log(lines, [(cut, False)]))[0] == ["a", "10%", "20%", "b", ""]


def test_times_of_a_node_in_another_zone() -> None:
    log = Log([stamped(0, "a\n", "+02:00")], [(100, False)])
    kube: Any = log
    asked: list[str] = []
    pieces = log.pieces
    log.pieces = lambda *words: asked.append(words[-1]) or pieces(*words)  # type: ignore[method-assign, func-returns-value]
    assert list(followed(kube, "pod", "job", log.ended, tail=5)) == ["a"]
    assert asked[0] == "--tail=5"
    assert set(asked[1:]) == {"--since-time=2026-01-31T23:59:57+02:00"}


def test_last_lines_that_nobody_has_any_more() -> None:
    log = Log([], [])
    log.pieces = lambda *words: (_ for _ in ()).throw(NotThere("no such pod"))  # type: ignore[method-assign]
    kube: Any = log
    times = iter([0.0, 10.0, 31.0])
    with pytest.raises(ClusterFailed, match="the last lines of pod cannot be read"):
        list(followed(kube, "pod", "job", log.ended, clock=lambda: next(times)))


def test_a_pod_that_has_gone_has_no_more_lines() -> None:
    log = Log([], [])
    log.pieces = lambda *words: (_ for _ in ()).throw(NotThere("no such pod"))  # type: ignore[method-assign]
    kube: Any = log
    assert list(followed(kube, "pod", "job", log.ended, gone=lambda code: code == 7)) == []


@pytest.mark.parametrize("own", ["2031-01-01T00:00:00Z step 5\n", "2019-01-01T00:00:00Z step 5\n"])
def test_a_time_that_a_program_writes_after_a_carriage_return_is_its_own(own: str) -> None:
    lines = [stamped(0, "a\n"), own, stamped(900, "b\n")]
    assert read(Log(lines, [(len(lines[0]) + len(own), True)]))[0] == ["a", own.rstrip("\n"), "b"]


@pytest.mark.parametrize("error", [NoAnswer("no"), CommandFailed("kubectl exited with 1")])
def test_who_asks_patiently_is_answered_or_told_of_the_silence(error: Unavailable) -> None:
    answers: list[int | Unavailable] = [error, error, 5]

    def question() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    assert patiently(question, 10) == 5
    answers = [error, error, error]
    times = iter([0.0, 0.0, 4.0, 11.0])
    with pytest.raises(Unanswered, match="has not answered for 10 s") as raised:
        patiently(question, 10, clock=lambda: next(times))
    assert error.what in str(raised.value.why)


@pytest.mark.parametrize("error", [ClusterFailed("no"), Unavailable("u may not"), NotThere("no")])
def test_what_asking_again_does_not_change_is_said_at_once(error: Exception) -> None:
    asked: list[int] = []

    def question() -> None:
        asked.append(1)
        raise error

    with pytest.raises(type(error)):
        patiently(question, 10)
    assert len(asked) == 1


# Answers in order, the last for ever: `status lines…`, by verb. What is asked is written down.
PROGRAM = """#!{python}
import pathlib, sys
folder = pathlib.Path({folder!r})
words = sys.argv[3:]
with (folder / "asked").open("a") as asked:
    print(*words, file=asked)
kind = words[0] if words[0] != "get" else words[1].split(",")[0]
answers = folder / kind
if not answers.exists():
    sys.exit()
first, *others = answers.read_text().split("====\\n")
if others:
    answers.write_text("====\\n".join(others))
code, _, text = first.partition("\\n")
(sys.stdout if code == "0" else sys.stderr).write(text)
sys.exit(int(code))
"""


@pytest.fixture
def kube(tmp_path: Path) -> Kubectl:
    program = tmp_path / "kubectl"
    program.write_text(PROGRAM.format(python=sys.executable, folder=str(tmp_path)))
    program.chmod(0o755)
    return Kubectl(program=str(program), environment=os.environ, namespace="ml")


def answers(folder: Path, kind: str, *told: tuple[int, str]) -> None:
    (folder / kind).write_text("====\n".join(f"{code}\n{text}" for code, text in told))


def pods(**state: Any) -> tuple[int, str]:
    container = {"ready": True, "restartCount": 0, "state": state}
    pod = {
        "metadata": {"name": "c-job-x", "labels": {}},
        "status": {"phase": "Running", "containerStatuses": [container]},
    }
    return 0, json.dumps({"items": [pod]}) + "\n"


def asked(folder: Path) -> list[str]:
    """Return the verbs in the order in which they were asked for."""
    return [line.split()[0] for line in (folder / "asked").read_text().splitlines()]


NO_CONNECTION = (1, "Unable to connect to the server: dial tcp 10.0.0.1:6443: i/o timeout\n")
RUNNING = pods(running={})
ENDED = pods(terminated={"exitCode": 3, "reason": "Error"})
CLUSTER = KubernetesCluster(name="c", spec=ClusterSpec(image="i"), ready={})


def run(kube: Kubectl) -> tuple[int, list[str]]:
    said: list[str] = []
    job = Job(program="local:///x.py")
    ended = submit(kube, CLUSTER, job, cluster_templates(Definitions(CHECKOUT)), said.append)
    return ended.exit_code, said


@pytest.mark.starts
def test_a_job_outlives_broken_connections(kube: Kubectl, tmp_path: Path) -> None:
    one, two = stamped(0, "one\n"), stamped(2500, "two\n")
    answers(tmp_path, "pods", NO_CONNECTION, RUNNING, NO_CONNECTION, RUNNING, RUNNING, ENDED)
    answers(tmp_path, "logs", (0, one), (1, "error: unexpected EOF\n"), (0, one), (0, one + two))
    answers(tmp_path, "delete", NO_CONNECTION, (0, ""))
    assert run(kube) == (3, ["one", "two"])
    verbs = asked(tmp_path)
    assert verbs.index("delete") > max(n for n, verb in enumerate(verbs) if verb == "logs")
    assert verbs.count("delete") == 2


@pytest.mark.starts
def test_how_a_job_ended_is_said_though_it_cannot_be_removed(
    kube: Kubectl,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(jobs, "STARTING_SECONDS", 0.0)
    answers(tmp_path, "pods", RUNNING, ENDED)
    answers(tmp_path, "logs", (0, stamped(0, "one\n")))
    answers(tmp_path, "delete", NO_CONNECTION)
    assert run(kube) == (3, ["one"])
    assert "has ended and is still there" in caplog.text and "cluster down" in caplog.text


@pytest.mark.starts
def test_a_job_is_left_alone_by_who_hears_nothing_of_it(
    kube: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "RUNNING_SECONDS", 0.0)
    answers(tmp_path, "pods", RUNNING, NO_CONNECTION)
    answers(tmp_path, "logs", NO_CONNECTION)
    with pytest.raises(Unanswered, match=r"how job-[0-9a-f]+ goes on is not known") as raised:
        run(kube)
    assert "cluster logs --on kubernetes c job-" in str(raised.value.hint)
    assert "delete" not in asked(tmp_path)


@pytest.mark.starts
@pytest.mark.parametrize(
    ("told", "match"),
    [
        ((0, '{"items": []}\n'), "the pod of job c-job-[0-9a-f]+ is gone"),
        ((1, 'Error: User "u" cannot list resource "pods"\n'), "u may not list pods"),
    ],
)
def test_a_job_that_cannot_go_on_is_removed(
    kube: Kubectl, tmp_path: Path, told: tuple[int, str], match: str
) -> None:
    answers(tmp_path, "pods", RUNNING, told)
    answers(tmp_path, "logs", (1, 'Error from server (NotFound): pods "c-job-x" not found\n'))
    with pytest.raises(Unavailable, match=match):
        run(kube)
    assert asked(tmp_path).count("delete") == 1
