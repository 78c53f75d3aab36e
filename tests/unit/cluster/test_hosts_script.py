"""`bootstrap.sh` of `render --for hosts`, with an engine and a systemd that only take notes.

What it leaves on a host is looked at; whether Spark then runs, tests/hosts asks.
"""

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
"image inspect") [ -e "$HOST/pulled" ] || exit 1 ;;
"pull "*) touch "$HOST/pulled" ;;
"run --rm") for word; do case $word in registry*) image=$word ;; esac; done
            echo "# of $image" ;;
"exec "*) case "$*" in *pgrep*) exit 1 ;; esac ;;
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
        calls = (self.state / "calls").read_text().splitlines()
        reading = ("docker image", "docker run", "docker exec", "systemctl --quiet")
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
    secret = files("hosts")["secret"].text.strip()
    assert settings[-1] == f"spark.authenticate.secret {secret}"
    path = host.root / f"{ETC}/conf/spark-defaults.conf"
    assert path.stat().st_mode & 0o077 == 0
    assert "MASTER=spark://boss:7077" in host.read(f"{ETC}/worker.env").splitlines()
    assert secret not in host.read(f"{ETC}/worker.env") + host.read(f"{ETC}/settings")

    again = host.run("worker", "--master", "boss")
    assert again == ["systemctl daemon-reload", f"systemctl enable {UNIT}"]


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
