"""`bootstrap.sh` of `render --for hosts`, with an engine and a systemd that only take notes.

What it leaves on a host is looked at; whether Spark then runs, tests/hosts asks.
"""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.rendered import IMAGE, files

OLD, NEW = IMAGE, IMAGE.replace("87e610db", "12345678")
# What it runs, in `PATH`: each writes down how it was called.
STUBS = {
    # The defaults of an image name it, so that it can be seen whose were taken.
    "docker": """case "$1 $2" in
"image inspect")
    [ -e "$HOST/pulled" ] || exit 1
    for image; do :; done
    echo "[layers of $image]" ;;
"pull "*) touch "$HOST/pulled" ;;
"run --rm") for word; do case $word in registry* | sha256:*) image=$word ;; esac; done
            echo "# of $image" ;;
"exec "*) case "$*" in *pgrep*) exit 1 ;; *masterurl*) [ ! -e "$HOST/refused" ] ;; esac ;;
"logs "*) [ ! -e "$HOST/refused" ] || cat "$HOST/refused" ;;
esac""",
    "systemctl": """case "$*" in
"restart "*) touch "$HOST/active" ;;
"disable --now "*) rm -f "$HOST/active" ;;
"--quiet is-active "*) [ -e "$HOST/active" ] ;;
esac""",
    "hostname": "echo host1",
    "getent": "exit 0",
    "id": "echo 0",
    "uname": "echo x86_64",
    "nproc": "echo 8",
    "chown": "exit 0",
    # As another user than root, files cannot be given to somebody else.
    "install": """skip=
for word; do
    shift
    case $word in
    -o | -g) skip=yes ;;
    *)
        [ -n "$skip" ] || set -- "$@" "$word"
        skip=
        ;;
    esac
done
exec /usr/bin/install "$@\"""",
}
NOTED = ("docker", "systemctl")
pytestmark = pytest.mark.starts


class Host:
    """A folder in which the script finds what it looks for at the root."""

    def __init__(self, root: Path) -> None:
        self.root, self.state = root, root / "state"
        self.told: list[str] = []
        (root / "bin").mkdir()
        self.state.mkdir()
        for program, text in STUBS.items():
            note = f'echo "{program} $*" >>"$HOST/calls"' if program in NOTED else ""
            (root / "bin" / program).write_text(f"#!/bin/sh\n{note}\n{text}\n")
            (root / "bin" / program).chmod(0o755)
        (root / "etc/systemd/system").mkdir(parents=True)

    def copy(self, image: str) -> None:
        """Put the files there, for an image."""
        for name, file in files("hosts").items():
            text = file.text.replace(IMAGE, image)
            for place in ("/etc/mlruntime", "/var/lib/mlruntime", "/etc/systemd/system"):
                text = text.replace(f"={place}", f"={self.root}{place}")
            (self.root / name).write_text(text)

    def run(self, *words: str, code: int = 0) -> list[str]:
        """Run the script; return what it called that changes something."""
        (self.state / "calls").write_text("")
        done = subprocess.run(
            ["sh", str(self.root / "bootstrap.sh"), *words], capture_output=True, text=True,
            env={"PATH": f"{self.root}/bin:{os.environ['PATH']}", "HOST": str(self.state)},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        self.told = done.stderr.splitlines()
        calls = (self.state / "calls").read_text().splitlines()
        reading = ("docker image", "docker run", "docker exec", "docker logs", "systemctl --quiet")
        return [call for call in calls if not call.startswith(reading)]

    def read(self, path: str) -> str:
        return (self.root / path).read_text()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.copy(OLD)
    return made


ETC = "etc/mlruntime/team-a"
UNIT = "mlruntime-team-a-worker.service"


def test_a_worker_is_set_up_once(host: Host) -> None:
    assert host.run("worker", "--master", "boss") == [
        f"docker pull {OLD}",
        "systemctl daemon-reload",
        f"systemctl enable {UNIT}",
        f"systemctl restart {UNIT}",
    ]
    settings = host.read(f"{ETC}/conf/spark-defaults.conf").splitlines()
    assert settings[0] == f"# of {OLD}"
    assert "spark.master spark://boss:7077" in settings
    assert "spark.decommission.enabled true" in settings  # or draining would just kill it
    assert settings[-1] == f"spark.authenticate.secret {secret_with(OLD)}"
    assert host.read(f"{ETC}/secret").strip() == secret_with(OLD)
    assert "MASTER=spark://boss:7077" in host.read(f"{ETC}/worker.env").splitlines()
    assert "SPARK_LOCAL_IP=127.0.0.1" in host.read(f"{ETC}/conf/spark-env.sh").splitlines()

    again = host.run("worker", "--master", "boss")
    assert again == ["systemctl daemon-reload", f"systemctl enable {UNIT}"]


def secret_with(image: str) -> str:
    """Return the secret of a node that runs this image."""
    shared = files("hosts")["secret"].text.strip()
    return hashlib.sha256(f"{shared}\n[layers of {image}]\n".encode()).hexdigest()


def test_nobody_else_reads_the_settings_on_a_host(host: Host) -> None:
    (host.root / "spark.conf").write_text("spark.hadoop.fs.s3a.secret.key hush\n")
    host.run("worker", "--master", "boss")
    secret = files("hosts")["secret"].text.strip()
    telling = {
        path.relative_to(host.root / ETC).as_posix(): path.stat().st_mode & 0o077
        for path in (host.root / ETC).rglob("*")
        if path.is_file() and ("hush" in path.read_text() or secret_with(OLD) in path.read_text())
    }
    assert telling == {"conf/spark-defaults.conf": 0, "secret": 0}
    everything = [p.read_text() for p in (host.root / ETC).rglob("*") if p.is_file()]
    assert not any(secret in text for text in everything)


def test_a_worker_of_another_image_is_refused_with_one_sentence(host: Host) -> None:
    """What the master does to such a worker, tests/hosts sees; here its words are repeated."""
    told = "ERROR TransportClientFactory: Exception while bootstrapping client after 46 ms\n"
    (host.state / "refused").write_text(2 * told)
    calls = host.run("worker", "--master", "boss", code=6)
    assert calls[-1] == f"systemctl disable --now {UNIT}"
    assert host.told == [
        "mlruntime: this host can run " + OLD,
        "mlruntime: the master of cluster team-a refuses this worker: it runs another image, or "
        "has another secret",
        "           try: the same files on all hosts, and bootstrap.sh master first",
    ]
    host.copy(NEW)
    host.run("worker", "--master", "boss", code=6)
    assert secret_with(NEW) != secret_with(OLD)
    assert secret_with(NEW) in host.read(f"{ETC}/conf/spark-defaults.conf")


def test_an_image_that_was_loaded_by_hand_is_not_pulled(host: Host) -> None:
    image = f"sha256:{'5' * 64}"
    host.copy(image)
    host.run("worker", "--master", "boss", code=6)
    assert host.told[-2:] == [
        f"mlruntime: this host has no image {image}",
        f"           try: load it: {host.root}/bin/docker load --input FILE",
    ]
    (host.state / "pulled").touch()
    assert not [call for call in host.run("worker", "--master", "boss") if "pull" in call]


def test_an_upgrade_and_the_way_back(host: Host) -> None:
    host.run("master")
    (host.state / "pulled").unlink()
    host.copy(NEW)
    upgraded = host.run("master")
    assert upgraded[0] == f"docker pull {NEW}"
    assert upgraded[-1] == "systemctl restart mlruntime-team-a-master.service"
    assert f"IMAGE={NEW}" in host.read(f"{ETC}/master.env")
    assert host.read(f"{ETC}/conf/spark-defaults.conf").startswith(f"# of {NEW}\n")

    assert host.run("rollback") == ["systemctl restart mlruntime-team-a-master.service"]
    assert f"IMAGE={OLD}" in host.read(f"{ETC}/master.env")
    settings = host.read(f"{ETC}/conf/spark-defaults.conf")
    assert settings.startswith(f"# of {OLD}\n")
    assert "spark.master spark://host1:7077" in settings
    host.run("rollback")
    assert f"IMAGE={NEW}" in host.read(f"{ETC}/master.env")


def test_a_worker_is_drained_and_everything_goes(host: Host) -> None:
    host.run("worker", "--master", "boss")
    assert host.run("drain") == [
        "docker kill --signal PWR mlruntime-team-a-worker",
        f"systemctl disable --now {UNIT}",
    ]
    host.run("remove")
    places = [host.root / "etc", host.root / "var/lib", host.root / "etc/systemd/system"]
    left = sorted(path.name for place in places for path in place.iterdir())
    assert left == ["systemd"]


def test_there_is_nothing_to_go_back_to(host: Host) -> None:
    host.run("worker", "--master", "boss")
    host.run("rollback", code=2)
