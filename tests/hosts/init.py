"""Becomes a host's systemd: ``python -m tests.hosts.init STATE NAME GROUP``.

First in the host's control groups, then again in its namespaces (``… inside``), and there below its
own root, as its first process.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.kubernetes import cgroups

_UNSHARE: Final = ("unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--fork",
                   "--kill-child")  # fmt: skip
# What would change this machine instead of the host, or needs a machine.
_MASKED: Final = (
    "systemd-binfmt.service",
    "systemd-modules-load.service",
    "systemd-remount-fs.service",
    "systemd-sysctl.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-udevd.service",
    "systemd-udev-trigger.service",
    "systemd-timesyncd.service",
    "console-getty.service",
    "getty.target",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-fs-fuse-connections.mount",
    "proc-sys-fs-binfmt_misc.automount",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
)
_ENABLED: Final = ("docker.service", "containerd.service")
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")


def enter(state: Path, name: str, group: str) -> None:
    """Go into the host's control groups, and start its namespaces from there."""
    for hierarchy in cgroups.hierarchies():
        (hierarchy / group / "cgroup.procs").write_text(str(os.getpid()))
    os.execvp(_UNSHARE[0], [*_UNSHARE, sys.executable, "-m", "tests.hosts.init", str(state), name,
                            "inside"])  # fmt: skip


def inside(state: Path, name: str) -> None:
    """Mount what a host has, and become its systemd."""
    root = state / "root"
    subprocess.run(["hostname", name], check=True)
    _mount("--make-rprivate", "/")
    layers = f"lowerdir=/,upperdir={state}/upper,workdir={state}/work"
    _mount("-t", "overlay", "-o", layers, "overlay", str(root))
    _mount("-t", "proc", "proc", f"{root}/proc")
    _mount("-t", "sysfs", "-o", "ro", "sysfs", f"{root}/sys")
    for place in ("run", "tmp", "dev", "sys/fs/cgroup"):
        _mount("-t", "tmpfs", "-o", "mode=755" if place != "tmp" else "mode=1777", "tmpfs",
               f"{root}/{place}")  # fmt: skip
    for hierarchy in cgroups.hierarchies():
        (root / "sys/fs/cgroup" / hierarchy.name).mkdir()
        named = hierarchy.name == "systemd"
        _mount("-t", "cgroup", "-o", "none,name=systemd" if named else hierarchy.name, "cgroup",
               f"{root}/sys/fs/cgroup/{hierarchy.name}")  # fmt: skip
    _devices(root / "dev")
    (root / "var/lib/docker").mkdir(parents=True, exist_ok=True)
    _mount("--bind", f"{state}/docker", f"{root}/var/lib/docker")
    _settings(state, root, name)
    (state / "up").touch()
    # Not just chroot: `docker exec`, which enters a container's namespace, would be at the root of
    # this machine there.
    os.chdir(root)
    subprocess.run(["pivot_root", ".", "mnt"], check=True)
    os.chdir("/")
    subprocess.run(["umount", "--lazy", "/mnt"], check=True)
    environment = {"container": "other", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    words = ["systemd", "--log-target=journal", "--unit=multi-user.target"]
    os.execve("/lib/systemd/systemd", words, environment)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def _devices(dev: Path) -> None:
    for name in _DEVICES:
        os.mknod(dev / name, 0o666 | 0o020000, Path("/dev", name).stat().st_rdev)
        (dev / name).chmod(0o666)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    _mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666", "devpts", f"{dev}/pts")
    _mount("-t", "tmpfs", "tmpfs", f"{dev}/shm")
    (dev / "ptmx").symlink_to("pts/ptmx")
    (dev / "fd").symlink_to("/proc/self/fd")


def _settings(state: Path, root: Path, name: str) -> None:
    """Of the host itself, when it is started for the first time."""
    units = root / "etc/systemd/system"
    if (state / "settled").exists():
        return
    for folder in units.glob("*.wants"):
        for link in folder.iterdir():
            link.unlink()
    for unit in _MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    for unit in _ENABLED:
        (wanted / unit).symlink_to(f"/lib/systemd/system/{unit}")
    (root / "etc/fstab").write_text("")
    (root / "etc/hostname").write_text(f"{name}\n")
    (root / "etc/hosts").write_text((state.parent / "hosts").read_text())
    (state / "settled").touch()


if __name__ == "__main__":
    if sys.argv[3] == "inside":
        inside(Path(sys.argv[1]), sys.argv[2])
    else:
        enter(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
