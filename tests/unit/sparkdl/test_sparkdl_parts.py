"""Options, what is sent, what is logged, and which clusters are refused."""

import json
import socket
import stat
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.sparkdl_library import load

runner = load("_runner").HorovodRunner
Options = load("_options").RunOptions
errors = load("_errors")


def test_options_make_another_runner_and_leave_the_first_alone() -> None:
    first = runner(np=2)
    second = first.options(max_restarts=2).options(timeline=True)
    assert (first._options.max_restarts, second._options.max_restarts) == (0, 2)
    assert second._options.timeline
    assert second.num_processor == 2


def test_an_unknown_option_is_told_with_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"no option 'max_restart'\. Did you mean max_restarts\?"):
        runner(np=2).options(max_restart=2)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_restarts", -1, "max_restarts must be at least 0, not -1"),
        ("max_restarts", True, "max_restarts must be int, not bool"),
        ("rank_timeout", 0.5, "rank_timeout must be at least 2, not 0.5"),
        ("rank_timeout", float("nan"), "rank_timeout must be at least 2, not nan"),
        ("import_timeout", float("inf"), "import_timeout must be at most 86400, not inf"),
        ("threads", "2", "threads must be int or None, not str"),
        ("elastic", 1, "elastic must be bool, not int"),
        ("environment", {"A": 1}, "environment maps names to text, not 'A' to 1"),
    ],
)
def test_options_that_cannot_be_are_refused(name: str, value: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        runner(np=2).options(**{name: value})


def test_a_path_is_as_good_as_its_name(tmp_path: Path) -> None:
    assert runner(np=2).options(log_directory=tmp_path)._options.log_directory == str(tmp_path)


def test_every_option_is_documented_and_checked() -> None:
    import dataclasses

    for field in dataclasses.fields(Options):
        assert f"``{field.name}``" in Options.__doc__
        assert field.name in load("_options")._KINDS


def test_what_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()

    def main(given: Any) -> Any:
        return lock

    with pytest.raises(errors.NotSendable, match=r"It is the variable 'lock', which main uses"):
        load("_payload").pack(main, {"given": 1})
    with pytest.raises(errors.NotSendable, match=r"It is the argument 'given' \(lock\)"):
        load("_payload").pack(print, {"given": threading.Lock()})


def test_what_cannot_be_pickled_is_named_with_the_function_that_uses_it() -> None:
    lock = threading.Lock()

    def helper() -> Any:
        return lock

    def main() -> Any:
        return helper()

    with pytest.raises(errors.NotSendable, match=r"It is the variable 'lock', which helper uses"):
        load("_payload").pack(main, {})


def test_what_only_an_inner_function_uses_is_named_too() -> None:
    names: dict[str, Any] = {"__name__": "__main__", "busy": threading.Lock()}
    exec("def main():\n    def inner():\n        return busy\n    return inner()", names)
    with pytest.raises(errors.NotSendable, match=r"It is the variable 'busy', which main uses"):
        load("_payload").pack(names["main"], {})


class Lazy(ModuleType):
    """A module that becomes another one when it is used, as TensorFlow's ``keras`` is."""

    def __getattr__(self, name: str) -> Any:
        return getattr(json, name)

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle")


def test_a_module_that_is_loaded_lazily_is_sent_by_its_name() -> None:
    import pickle

    lazy = Lazy("json")
    names: dict[str, Any] = {"__name__": "__main__", "lazy": lazy}
    exec("def main():\n    return lazy.dumps([1])", names)
    main, _ = pickle.loads(load("_payload").pack(names["main"], {}))
    assert main() == "[1]"
    assert main.__globals__["lazy"] is json


def test_functions_keep_the_name_of_their_file() -> None:
    import pickle

    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile("def main():\n    def inner(): ...\n    return inner", "/me/t.py", "exec"), names)
    main, _ = pickle.loads(load("_payload").pack(names["main"], {}))
    assert main.__code__.co_filename == main().__code__.co_filename == "/me/t.py"


def test_what_is_too_large_is_told_with_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load("_payload"), "LIMIT", 1 << 20)
    with pytest.raises(errors.NotSendable) as refused:
        load("_payload").pack(print, {"table": bytes(3 << 20)})
    assert "larger than 1 MiB pickled (the argument 'table' alone has 3 MiB)" in str(refused.value)


def test_what_is_sent_arrives() -> None:
    import pickle

    main, kwargs = pickle.loads(load("_payload").pack(len, {"obj": [1, 2]}))
    assert main(*kwargs.values()) == 2


def suitable(**settings: str) -> None:
    load("_cluster").require_suitable(
        lambda name: settings.get(name.replace("spark.", "").replace(".", "_"))
    )


def test_clusters_that_cannot_run_ranks_are_refused() -> None:
    suitable()
    suitable(executor_resource_gpu_amount="4", task_resource_gpu_amount="1")
    suitable(dynamicAllocation_enabled="false")
    with pytest.raises(errors.UnsuitableCluster, match=r"dynamicAllocation\.enabled=false"):
        suitable(dynamicAllocation_enabled="true")
    with pytest.raises(errors.UnsuitableCluster, match="would train on the CPU"):
        suitable(executor_resource_gpu_amount="4")
    with pytest.raises(errors.UnsuitableCluster, match="exactly one GPU"):
        suitable(executor_resource_gpu_amount="1", task_resource_gpu_amount="0.5")


def test_an_interface_that_is_not_there_is_told_with_those_that_are() -> None:
    choose = load("_network").choose_interface
    assert choose("lo", {}, "a", ["a"]) == "lo"
    with pytest.raises(ValueError, match=r"options\(interface=…\) .*'eth99'.*is not there.* lo"):
        choose("eth99", {}, "a", ["a"])


def test_horovod_s_variable_names_the_interface_unless_an_option_does() -> None:
    choose = load("_network").choose_interface
    with pytest.raises(ValueError, match=r"HOROVOD_GLOO_IFACE .*'ib7'.*is not there.* lo"):
        choose(None, {"HOROVOD_GLOO_IFACE": "ib7"}, "a", ["a"])
    assert choose("lo", {"HOROVOD_GLOO_IFACE": "ib7"}, "a", ["a"]) == "lo"
    assert choose(None, {"HOROVOD_GLOO_IFACE": ""}, "a", ["a"]) == "lo"  # as if it were not set


def test_a_name_that_does_not_resolve_is_told() -> None:
    with pytest.raises(ConnectionError, match=r"the name 'nowhere\.invalid' does not resolve on "):
        load("_network").address_of("nowhere.invalid")
    assert load("_network").address_of("127.0.0.1") == "127.0.0.1"


@pytest.mark.parametrize("host", ["2001:db8::7", "[2001:db8::7]"])
def test_a_host_may_have_ipv6_addresses_only(host: str) -> None:
    assert load("_network").address_of(host) == "2001:db8::7"  # in brackets as Spark writes it


def test_ipv4_goes_before_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    network = load("_network")
    six = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::7", 0, 0, 0))
    four = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))
    monkeypatch.setattr(network.socket, "getaddrinfo", lambda *_, **__: [six, four])
    assert network.address_of("both") == "192.0.2.7"


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::", "[::]"])
def test_all_addresses_are_those_of_both_families(wildcard: str) -> None:
    with load("_network").listen(wildcard, 0) as server:
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, server.getsockname()[1])) as connection:
                server.accept()[0].close()
                assert connection.recv(1) == b""


def test_a_relay_passes_on_until_it_is_closed() -> None:
    answer = bytes(range(256)) * 4096
    with load("_network").listen("::1", 0) as server:
        relay = load("_relay").Relay(("::1", server.getsockname()[1]))
        with socket.create_connection(("127.0.0.1", relay.port)) as near:
            near.sendall(b"asked")
            far, _ = server.accept()
            assert far.recv(5, socket.MSG_WAITALL) == b"asked"
            with far:
                far.sendall(answer)
            assert near.recv(len(answer), socket.MSG_WAITALL) == answer
            assert near.recv(1) == b""
        with socket.create_connection(("127.0.0.1", relay.port)) as near:
            near.sendall(b"?")
            far, _ = server.accept()
            with far:
                assert far.recv(1) == b"?"
                relay.close()
                assert far.recv(1) == b""
            assert near.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", relay.port))


def test_nccl_is_given_the_exact_interface() -> None:
    rank = load("_rank")
    (place,) = load("_ranks").place(["a"])
    words = {"address": "a", "port": 1, "interface": "eth1"}
    assert rank.environment(place, **words, given={})["NCCL_SOCKET_IFNAME"] == "=eth1"
    given = {"NCCL_SOCKET_IFNAME": "ib"}
    assert rank.environment(place, **words, given=given)["NCCL_SOCKET_IFNAME"] == "ib"


def test_the_interface_is_found_by_its_address() -> None:
    network = load("_network")
    assert network.interface_with("127.0.0.1") == "lo"
    assert network.interface_with("127.1.2.3") == "lo"
    assert network.interface_with("::1") == "lo"
    assert network.local_address_towards("::1") == "::1"
    with pytest.raises(RuntimeError, match=r"has the address 203\.0\.113\.1"):
        network.interface_with("203.0.113.1")
    assert network.interface_for("here", ["here", "here"]) == "lo"


def test_threads_follow_the_slot_unless_they_are_set() -> None:
    threads = load("_rank").threads
    assert threads({}, 2)["OMP_NUM_THREADS"] == "2"
    assert threads({}, 2)["TF_NUM_INTEROP_THREADS"] == "3"
    assert threads({"TF_NUM_INTRAOP_THREADS": "7"}, 2)["TF_NUM_INTRAOP_THREADS"] == "7"


def test_only_frameworks_that_main_names_are_imported_ahead() -> None:
    def frameworks(text: bytes) -> list[str]:
        return list(load("_payload").frameworks(len, text))

    assert frameworks(b"import tensorflow") == ["tensorflow"]
    assert frameworks(b"horovod.tensorflow") == ["tensorflow", "horovod.tensorflow"]
    assert frameworks(b"numpy") == []
    everything = frameworks(b"horovod.tensorflow.keras")
    assert everything == ["tensorflow", "horovod.tensorflow", "keras", "horovod.tensorflow.keras"]
    assert frameworks(b"TF_USE_LEGACY_KERAS horovod.tensorflow.keras") == ["tensorflow"]


def test_a_main_that_is_sent_by_name_is_looked_up_in_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_sparkdl.py").write_text("def main():\n    import tensorflow\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib

    main = importlib.import_module("mine_sparkdl").main
    assert load("_payload").frameworks(main, b"mine_sparkdl main") == ("tensorflow",)


def logs(tmp_path: Path, **changed: Any) -> Any:
    options = {
        "directory": str(tmp_path / "logs"),
        "run": "run",
        "everything": True,
        "limit": 1000,
        "keep": None,
        "checkpoints": None,
        "resume_from": None,
    }
    return load("_logs").RunLogs(**{**options, **changed})


def test_lines_carry_their_rank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = logs(tmp_path)
    run.output(0, b"one\ntw")
    run.output(1, b"other\n\xff\n")
    run.output(0, b"o\nrest")
    run.show()
    assert capsys.readouterr().out == "[0] one\n[1] other\n[1] \ufffd\n[0] two\n"
    run.close()
    assert capsys.readouterr().out == "[0] rest\n"
    assert (run.path / "rank-0.log").read_bytes() == b"one\ntwo\nrest"


def test_only_messages_are_shown_unless_asked_for_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = logs(tmp_path, everything=False)
    run.output(0, b"quiet\n")
    run.message(1, "hello")
    run.close()
    assert capsys.readouterr().out == "[1] hello\n"
    assert (run.path / "rank-0.log").read_bytes() == b"quiet\n"
    assert "[1] hello" in (run.path / "run.log").read_text()


def test_output_beyond_the_limit_is_counted(tmp_path: Path) -> None:
    run = logs(tmp_path, everything=False, limit=5)
    run.output(0, b"abc")
    run.output(0, b"defgh")
    run.close()
    assert (run.path / "rank-0.log").read_text() == (
        "abcde\n[3 bytes beyond log_limit were dropped]\n"
    )


def test_a_screen_that_is_too_slow_loses_lines_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = logs(tmp_path, limit=10**9)
    run.output(0, b"x\n" * 10_500)
    run.show()
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 10_001
    assert out[-1].startswith("HorovodRunner: 500 lines were not shown; all ranks' logs are in ")
    run.close()
    assert (run.path / "rank-0.log").stat().st_size == 21_000


def test_the_logs_are_their_owners(tmp_path: Path) -> None:
    run = logs(tmp_path)
    run.save(b"weights")
    run.close()
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((run.path / "checkpoint").stat().st_mode) == 0o600


def test_an_attempt_starts_from_what_was_saved_before_it(tmp_path: Path) -> None:
    run = logs(tmp_path)
    run.begin(0)
    assert run.load() == b""
    run.save(b"one")
    run.save(b"two")
    assert run.load() == b""
    run.begin(1)
    assert run.load() == b"Dtwo"
    run.save(b"three")
    assert run.load() == b"Dtwo"
    assert run.checkpoint_left() == run.path / "checkpoint"
    run.succeeded()
    assert run.checkpoint_left() is None
    run.close()


def test_checkpoints_in_a_shared_folder_are_found_and_removed(tmp_path: Path) -> None:
    run = logs(tmp_path, checkpoints=str(tmp_path / "shared"))
    folder = tmp_path / "shared" / "run"
    (folder / "checkpoint-0").write_bytes(b"x")
    run.begin(1)
    assert run.load() == b"P" + str(folder / "checkpoint-0").encode()
    run.begin(2)  # attempt 1 saved nothing
    assert run.load() == b"P" + str(folder / "checkpoint-0").encode()
    run.succeeded()
    assert not folder.exists()
    run.close()


def test_where_logs_cannot_be_kept_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sparkdl-logs").write_text("a file is in the way")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(RuntimeWarning, match="logs are not kept"):
        run = logs(tmp_path, directory=None)
    run.output(0, b"x\n")
    run.save(b"kept in memory")
    run.begin(1)
    assert run.load() == b"Dkept in memory"
    run.close()


METRICS = {"event": "epoch", "epoch": 2, "epochs": 5, "seconds": 1.25, "logs": {"loss": 0.12345}}


def test_metrics_are_shown_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = logs(tmp_path)
    run.metrics(0, METRICS)
    run.close()
    assert capsys.readouterr().out == "[0] epoch 2/5 (1.2 s): loss 0.1235\n"
    assert json.loads((run.path / "metrics.jsonl").read_text()) == {"rank": 0, **METRICS}


def test_progress_has_a_bar_when_the_end_is_known() -> None:
    line = load("_progress").progress_line
    progress = {"event": "progress", "epoch": 1, "epochs": 2, "batch": 5, "batches": 10, "logs": {}}
    assert line(0, progress) == f"[0] epoch 1/2 [{'=' * 12}{' ' * 12}] 5/10"
    assert line(0, {**progress, "batches": None}) == "[0] epoch 1/2 5"
    assert load("_progress").metrics_line(0, progress) is None


class Vector(list[float]):
    """As numpy has it."""

    def tolist(self) -> list[float]:
        return list(self)

    def __float__(self) -> float:
        raise TypeError("only one-element arrays can be converted to scalars")


def test_a_metric_may_be_a_vector() -> None:
    progress = load("_progress")
    assert progress.plain(Vector([0.5, float("nan")])) == [0.5, "nan"]
    assert progress.plain("0.25") == 0.25
    assert progress.plain(object).startswith("<class")
    logs = {"f1": progress.plain(Vector([0.5, 0.123456])), "loss": 1}
    line = progress.metrics_line(0, {**METRICS, "logs": logs})
    assert line == "[0] epoch 2/5 (1.2 s): f1 [0.5 0.1235], loss 1"


@given(
    st.fixed_dictionaries(
        {
            "event": st.sampled_from(["begin", "epoch", "batch", "progress"]),
            "epoch": st.integers(1, 99),
            "epochs": st.none() | st.integers(1, 99),
            "batch": st.integers(1, 99),
            "batches": st.none() | st.integers(1, 50),
            "logs": st.dictionaries(
                st.text(max_size=5),
                st.floats() | st.just("nan") | st.lists(st.floats()),
                max_size=3,
            ),
        }
    )
)
def test_every_report_can_be_shown(metrics: dict[str, Any]) -> None:
    progress = load("_progress")
    lines = [progress.metrics_line(0, metrics), progress.progress_line(0, metrics)]
    assert any(line is not None for line in lines)
