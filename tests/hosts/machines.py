"""Hosts with systemd on this machine: namespaces in which Debian's systemd is the first process.

Each sees this machine's files below a layer of its own, in which it writes. It has an address on a
network that only these hosts have, and an engine of its own; all ends with this process.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.kubernetes import cgroups

_CHECKOUT: Final = Path(__file__).parents[2]
_TOOLS: Final = ("unshare", "nsenter", "setpriv", "ip", "dockerd", "containerd", "curl")
_SYSTEMD: Final = Path("/lib/systemd/systemd")
_NETWORK: Final = "192.0.2.{}"
_SECONDS: Final = 90.0
PREFIX: Final = "mlr-host-"


class CannotRunError(Exception):
    """Why no hosts can run on this machine."""


def must_be_able() -> None:
    """Raise ``CannotRunError`` if what hosts need is not here."""
    if os.geteuid():
        raise CannotRunError("hosts need root, to have namespaces of their own")
    if not cgroups.hierarchies():
        raise CannotRunError("hosts were tried with cgroup v1 only, and this machine has v2")
    missing = [tool for tool in _TOOLS if shutil.which(tool, path=_path()) is None]
    if missing or not _SYSTEMD.exists():
        what = ", ".join([*missing, *([] if _SYSTEMD.exists() else ["systemd"])])
        raise CannotRunError(f"not installed: {what} (Debian: docker.io systemd dbus curl)")


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


@dataclass(kw_only=True)
class Host:
    """A host; ``state`` has what it has written, also while it is off."""

    name: str
    number: int
    state: Path
    known: Mapping[str, str]
    lan: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def pid(self) -> int:
        """Return the number of its systemd on this machine."""
        assert self.process is not None
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(path.read_text().split()[0])

    @property
    def files(self) -> Path:
        """Return its files as this machine sees them."""
        return Path(f"/proc/{self.pid}/root")

    def run(self, *words: str, check: bool = True) -> str:
        """Run a command on it, as root; return what that wrote, both streams together."""
        enter = ["nsenter", "--target", str(self.pid), "--all", "--wd=/"]
        done = subprocess.run(
            [*enter, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{self.name}: {words}: {done.stdout}"
        return done.stdout

    def boot(self) -> None:
        """Start it, and wait until systemd has started everything."""
        group = f"{PREFIX}{os.getpid()}-{self.name}"
        cgroups.make(group)
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.hosts.init",
                   str(self.state), self.name, group]  # fmt: skip
        with (self.state / "boot.log").open("a") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=_CHECKOUT,
                env=os.environ | {"PATH": _path()},
            )  # fmt: skip
        self._connect()
        deadline = time.monotonic() + _SECONDS
        while (told := self._told()) not in ("running", "degraded"):
            assert time.monotonic() < deadline, f"{self.name} is {told}: {self.logs()}"
            time.sleep(0.3)
        assert told == "running", self.run("systemctl", "--failed", "--no-pager")

    def _told(self) -> str:
        lines = self.run("systemctl", "is-system-running", check=False).splitlines()
        return lines[0] if lines else ""

    def _connect(self) -> None:
        deadline = time.monotonic() + _SECONDS
        while not (self.state / "up").exists():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)
        (self.state / "up").unlink()
        lan = ["nsenter", "--target", str(self.lan), "--net", "ip"]
        link = f"to{self.number}"
        subprocess.run([*lan, "link", "delete", link], capture_output=True)  # of before a reboot
        for words in (
            f"link add {link} type veth peer name eth0 netns {self.pid}",
            f"link set {link} master lan up",
        ):
            subprocess.run([*lan, *words.split()], check=True)
        for words in (
            "link set lo up",
            f"address add {self.known[self.name]}/24 dev eth0",
            "link set eth0 up",
        ):
            subprocess.run(
                ["nsenter", "--target", str(self.pid), "--net", "ip", *words.split()], check=True
            )

    def reboot(self) -> None:
        """Let systemd end everything, and start it again."""
        assert self.process is not None
        self.run("systemctl", "reboot", check=False)
        self.process.wait(_SECONDS)
        cgroups.remove(f"{PREFIX}{os.getpid()}-{self.name}")
        self.boot()

    def off(self) -> None:
        """Switch it off, as by its plug."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            cgroups.remove(f"{PREFIX}{os.getpid()}-{self.name}")

    def logs(self) -> str:
        """Return what it has written when it was started."""
        return (self.state / "boot.log").read_text()[-2000:]


@contextmanager
def hosts(state: Path, names: Sequence[str]) -> Iterator[list[Host]]:
    """Prepare hosts for a block, all of them off; at its end nothing of them is left."""
    _sweep()
    known = {name: _NETWORK.format(number + 1) for number, name in enumerate(names)}
    lan = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"],
        env=os.environ | {"PATH": _path()},
    )
    with ExitStack() as stack:
        stack.callback(_remove, [state / name for name in names])
        stack.callback(lan.wait)
        stack.callback(lan.kill)
        _bridged(lan.pid)
        made = []
        for number, name in enumerate(names):
            folder = state / name
            for part in ("upper", "work", "root", "docker"):
                (folder / part).mkdir(parents=True)
            made.append(Host(name=name, number=number, state=folder, known=known, lan=lan.pid))
            stack.callback(made[-1].off)
        text = "".join(f"{address} {name}\n" for name, address in known.items())
        (state / "hosts").write_text(f"127.0.0.1 localhost\n{text}")
        yield made


def _remove(folders: Sequence[Path]) -> None:
    """Remove gigabytes of small files, in half the time of Python's own."""
    subprocess.run(["rm", "-rf", *folders], check=True)


def _sweep() -> None:
    """Remove the control groups of hosts whose test run was killed; their processes are gone."""
    for group in cgroups.named(PREFIX):
        if not Path("/proc", group.removeprefix(PREFIX).partition("-")[0]).exists():
            cgroups.remove(group)


def _bridged(pid: int) -> None:
    deadline = time.monotonic() + _SECONDS
    while Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for words in ("link add lan type bridge", "link set lan up"):
        command = ["nsenter", "--target", str(pid), "--net", "ip", *words.split()]
        subprocess.run(command, check=True)
