"""The server on which the checks of S3 are tried, and what is said without one."""

from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.cli import main
from mlruntime.errors import UsageError
from mlruntime.lock.document import parse_lock
from mlruntime.validation.catalog import CHECKS
from mlruntime.validation.s3 import NO_SERVER, S3, UNREACHABLE, parse_s3
from mlruntime.validation.session import Subject, plan_of

ROOT = Path(__file__).parents[3]
LOCK = ROOT / "runtimes/6.0-ml/lock.json"
LOGIN = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
ON_S3 = [check.name for check in CHECKS if check.on_s3]
SERVER = S3(endpoint="http://127.0.0.1:9000", bucket="b-1", key="a", secret="b")


def test_a_bucket_and_a_login() -> None:
    assert parse_s3("http://127.0.0.1:9000/b-1/", LOGIN) == SERVER
    assert parse_s3("https://s3.example.org/b", LOGIN).endpoint == "https://s3.example.org"
    assert parse_s3("http://[::1]:9000/b", LOGIN).endpoint == "http://[::1]:9000"


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:9000/b", "http://h", "http://h/", "http://h/b/c", "s3://b/c", "http://a:b@h/c",
     "http://h/b?x", "http://h:x/b", "http://[::1/b"],
)  # fmt: skip
def test_what_is_no_bucket(url: str) -> None:
    with pytest.raises(UsageError, match="names no bucket of a server") as caught:
        parse_s3(url, LOGIN)
    assert "a:b" not in str(caught.value)


@pytest.mark.parametrize("name", LOGIN)
def test_a_login_that_is_not_whole(name: str) -> None:
    with pytest.raises(UsageError, match="no login for the server"):
        parse_s3("http://h/b", LOGIN | {name: ""})


def test_without_a_server_its_checks_say_why_they_are_not_run() -> None:
    lock = parse_lock(LOCK.read_text(encoding="utf-8"), file="lock.json")
    subject = Subject(image="i", lock=lock, variant="cpu")
    absent = plan_of(subject, CHECKS, ()).absent
    assert {name: absent[name] for name in ON_S3} == dict.fromkeys(ON_S3, NO_SERVER)
    contained = plan_of(replace(subject, why_no_s3=UNREACHABLE), CHECKS, ()).absent
    assert contained["cloud.s3a"] == UNREACHABLE
    plan = plan_of(replace(subject, s3=SERVER), CHECKS, ("cloud.s3a", "cloud.delta"))
    assert [check.name for check in plan.programs] == ["cloud.delta", "cloud.s3a"]
    # Images of other flavours are not asked for any of it.
    below = plan_of(replace(subject, lock=lock.cut("notebook")), CHECKS, ())
    assert not [name for name in below.names if name.startswith("cloud.") or name == "static.jars"]


def test_a_cluster_of_containers_is_not_told_of_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in LOGIN.items():
        monkeypatch.setenv(name, value)
    assert main(["--root", str(ROOT), "validate", "6.0-ml", "--s3", "http://h/b"]) == 2
    assert "reaches no other" in capsys.readouterr().err
