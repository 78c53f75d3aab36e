"""Which engine answers: the one of the docker command, else one with a usual socket."""

import logging
import os
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import docker
from docker.errors import DockerException
from urllib3.exceptions import HTTPError

from mlruntime.engine.docker.endpoint import Endpoint, endpoints
from mlruntime.engine.docker.engine import DockerEngine
from mlruntime.engine.docker.sdk import START_HINT, knock, reason
from mlruntime.errors import Unavailable

_LOG: Final = logging.getLogger(__name__)

_SECONDS: Final = 120
_LOAD_SECONDS: Final = 1800


def connect() -> DockerEngine:
    """Connect to the engine that the docker command would use, else to one with a usual socket.

    Raises ``Unavailable``, with all that was tried and how to start one, when none answers.
    """
    return first_of(endpoints(os.environ, Path(os.path.expanduser("~"))))  # noqa: PTH111


def first_of(found: Sequence[Endpoint]) -> DockerEngine:
    """Connect to the first of these that answers; ``Unavailable``, with why, when none does."""
    refusals: list[tuple[Endpoint, BaseException]] = []
    for endpoint in found:
        try:
            engine = _reach(endpoint)
        except (DockerException, OSError, HTTPError) as error:
            refusals.append((endpoint, error))
        else:
            _LOG.info("engine: %s", endpoint)
            return engine
    raise _unreachable(refusals)


def _reach(endpoint: Endpoint) -> DockerEngine:
    if endpoint.socket is not None:
        knock(endpoint.socket)
    options: dict[str, Any] = {"base_url": endpoint.host}
    if endpoint.tls:
        options["tls"] = endpoint.tls.config()
    if endpoint.host.startswith("ssh://"):
        options["use_ssh_client"] = _ssh(endpoint)
    api = docker.APIClient(version="auto", timeout=_SECONDS, **options)
    slow = docker.APIClient(version=api.api_version, timeout=_LOAD_SECONDS, **options)
    return DockerEngine(api, slow, endpoint)


def _ssh(endpoint: Endpoint) -> bool:
    """Raise ``Unavailable`` unless what an SSH connection needs is here."""
    if find_spec("paramiko") is None:  # the SDK imports it, and does not ask for it
        raise Unavailable(
            f"{endpoint} needs the Python package paramiko",
            hint="pip install 'docker[ssh]', or forward the socket: "
            "`ssh -NL /tmp/engine.sock:/var/run/docker.sock HOST` and "
            "DOCKER_HOST=unix:///tmp/engine.sock",
        )
    if shutil.which("ssh") is None:
        raise Unavailable(f"{endpoint} needs the command ssh", hint="install openssh-client")
    return True


def _unreachable(refusals: Sequence[tuple[Endpoint, BaseException]]) -> Unavailable:
    # Of several sockets, the one that is there but shut tells most.
    denied = [r for r in refusals if "ermission denied" in str(r[1])]
    tried = [f"{endpoint}: {_brief(error)}" for endpoint, error in denied or refusals]
    if denied:
        return Unavailable(
            "permission denied by the container engine",
            why="\n       ".join(tried),
            hint="run as root or join the `docker` group",
        )
    return Unavailable("no container engine answers", why="\n       ".join(tried), hint=START_HINT)


def _brief(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return reason(error)
