"""What a rank's host must offer, looked at before ``main`` is called."""

import os
import stat
from pathlib import Path

# What NVIDIA says a container needs at least; an engine gives it 64 MiB unless told otherwise.
_SHARED_MEMORY = 1 << 30
_OTHER_USER = (
    "Have executors run as the driver's user, or leave the option out: checkpoints then go through "
    "the driver"
)


def require_checkpoints(directory: str, *, writes: bool) -> None:
    """Raise ``OSError`` when this rank could not use the directory that checkpoints go to."""
    path = Path(directory)
    try:
        about = path.stat()
    except PermissionError:
        raise PermissionError(
            f"checkpoint_directory: a folder above {path} is closed to user {os.geteuid()}, as "
            f"whom this rank runs. {_OTHER_USER}"
        ) from None
    except OSError as error:
        raise FileNotFoundError(
            f"checkpoint_directory: {path} is not there on this host ({error.strerror}). It must "
            "be a folder that the driver and all ranks share; without the option, checkpoints go "
            "through the driver"
        ) from None
    needed = os.R_OK | os.X_OK | (os.W_OK if writes else 0)
    if not os.access(path, needed):
        raise PermissionError(
            f"checkpoint_directory: {path} belongs to user {about.st_uid}, as the driver runs, "
            f"with mode {stat.S_IMODE(about.st_mode):04o}, and this rank runs as user "
            f"{os.geteuid()}. {_OTHER_USER}"
        )


def small_shared_memory(ranks: int, path: str = "/dev/shm") -> str | None:
    """Return what to say when ``ranks`` ranks of a host have too little memory to share.

    NCCL passes data between the GPUs of a host through it.
    """
    if ranks < 2:
        return None
    try:
        about = os.statvfs(path)
    except OSError:
        return f"WARNING: this host has no {path}, through which NCCL connects its {ranks} ranks"
    size = about.f_blocks * about.f_frsize
    if size >= _SHARED_MEMORY:
        return None
    return (
        f"WARNING: {path} has {size >> 20} MiB here, and NCCL connects the {ranks} ranks of this "
        "host through it: it may fail, or be slow. Start the container with --shm-size=1g (on "
        "Kubernetes: an emptyDir with medium: Memory at /dev/shm)"
    )
