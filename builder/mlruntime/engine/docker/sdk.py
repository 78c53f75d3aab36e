"""What all dealings with the Docker SDK share: its errors become ours."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from urllib3.exceptions import HTTPError

from mlruntime.errors import CommandFailed, StorageError, Unavailable

START_HINT: Final = (
    "start one: `./dev engine`, or install Docker or Podman; or name one: DOCKER_HOST, "
    "or `docker context use`"
)


class Missing(Unavailable):
    """The image, container, network or volume is not there."""


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn whatever the SDK raises into one of our errors, saying what was being done."""
    try:
        yield
    except (ImageNotFound, NotFound) as error:
        raise Missing(f"the engine failed at {doing}", why=reason(error)) from None
    except (DockerException, HTTPError, OSError) as error:  # requests' errors are OSErrors
        raise failure(doing, reason(error)) from None


def failure(doing: str, why: str) -> Unavailable:
    """Return the error for what the engine says about something that did not work."""
    if re.search(r"no space left on device|disk quota exceeded", why, re.IGNORECASE):
        return StorageError(
            f"no space left on the engine's disk while {doing}",
            why=why,
            hint="remove images you no longer need (`docker image ls`), or give it a larger disk",
        )
    if re.search(r"connection (aborted|refused|reset)|timed out|broken pipe", why, re.IGNORECASE):
        return Unavailable(
            f"the container engine stopped answering while {doing}", why=why, hint=START_HINT
        )
    hint = None
    if re.search(r"could not select device driver|nvidia-container-cli", why, re.IGNORECASE):
        hint = "install NVIDIA's container toolkit and set it up (`nvidia-ctk runtime configure`)"
    return CommandFailed(f"the container engine failed at {doing}", why=why, hint=hint)


def reason(error: BaseException) -> str:
    """Return the engine's own words, without the SDK's wrapping."""
    if isinstance(error, APIError) and error.explanation:
        text = str(error.explanation)
        with suppress(ValueError, KeyError, TypeError):
            text = str(json.loads(text)["message"])
        return text.strip()
    return str(error).strip() or type(error).__name__


def knock(path: Path) -> None:
    """Raise ``OSError`` when nobody listens; the SDK would leave its own socket open then."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))


def libpod_version(api: Any) -> str | None:
    """Return the version of libpod's API, which an engine that has it names in each answer."""
    answer = api._get(f"{api.base_url}/_ping")
    api._raise_for_status(answer)
    found: str | None = answer.headers.get("Libpod-API-Version")
    return found


def fill_volumes(podman: Any, version: str, container: str) -> None:
    """Have Podman do to a container's volumes now what Docker did when it made it.

    A new volume gets what the image has in its place. Podman copies that before the container
    starts, and not into a volume where files have been put by then. Only its own API can ask
    for it earlier.
    """
    url = f"{podman.base_url}/v{version}/libpod/containers/{container}/init"
    podman._raise_for_status(podman._post(url))
