"""Which engine to talk to: what the docker command would choose on this host, and why.

``DOCKER_HOST`` comes first, then ``DOCKER_CONTEXT``, then ``currentContext`` of docker's
``config.json``. Where nothing is configured, the sockets of engines that need no configuration
are tried in turn.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from docker.tls import TLSConfig

from mlruntime.errors import UsageError

DEFAULT: Final = "default"
_TLS_FILES: Final = ("ca.pem", "cert.pem", "key.pem")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """The certificates of a connection; a file that is not there is ``None``."""

    authority: Path | None
    certificate: Path | None
    key: Path | None
    verify: bool

    def config(self) -> TLSConfig:
        """Return the SDK's form; ``DockerException`` for files that it cannot use."""
        client = (str(self.certificate), str(self.key)) if self.certificate and self.key else None
        return TLSConfig(
            client_cert=client,
            ca_cert=str(self.authority) if self.authority else None,
            verify=self.verify,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where an engine may answer; ``source`` says which setting names it."""

    host: str
    source: str
    tls: Tls | None = None

    @property
    def socket(self) -> Path | None:
        """Return the socket's path, for an engine that is reached by one."""
        scheme, _, path = self.host.partition("://")
        return Path(path) if scheme == "unix" else None

    @property
    def remote(self) -> bool:
        """Return whether the engine is reached over a network."""
        return self.socket is None

    def __str__(self) -> str:
        return f"{self.host} ({self.source})"


def endpoints(environ: Mapping[str, str], home: Path) -> tuple[Endpoint, ...]:
    """Return where to look for the engine, in this order.

    One that is configured is the only one. Raises ``UsageError`` for a context that is not there
    or cannot be read.
    """
    folder = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    if host := environ.get("DOCKER_HOST"):
        return (Endpoint(host=_spelled(host), source="DOCKER_HOST", tls=_tls(environ, folder)),)
    source, name = "DOCKER_CONTEXT", environ.get("DOCKER_CONTEXT")
    if not name:
        source = f"currentContext in {folder / 'config.json'}"
        name = _current(folder / "config.json")
    if name and name != DEFAULT:
        return (_context(folder, name, f"context {name!r}: {source}"),)
    return tuple(
        Endpoint(host=f"unix://{path}", source=source) for path, source in _sockets(environ, home)
    )


def _sockets(environ: Mapping[str, str], home: Path) -> Sequence[tuple[Path, str]]:
    runtime = environ.get("XDG_RUNTIME_DIR")
    mine = Path(runtime) if runtime else None
    found = [(Path("/var/run/docker.sock"), "the default")]
    if mine:
        found.append((mine / "docker.sock", "rootless Docker, in XDG_RUNTIME_DIR"))
    found.append((home / ".docker/run/docker.sock", "Docker Desktop"))
    if mine:
        found.append((mine / "podman/podman.sock", "rootless Podman, in XDG_RUNTIME_DIR"))
    found.append((Path("/run/podman/podman.sock"), "Podman"))
    return found


def _spelled(host: str) -> str:
    """Return an address as the docker command reads it: ``HOST:PORT`` is TCP."""
    return host if "://" in host else f"tcp://{host}"


def _tls(environ: Mapping[str, str], folder: Path) -> Tls | None:
    """Return what ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH`` say, or ``None``."""
    verify, path = environ.get("DOCKER_TLS_VERIFY"), environ.get("DOCKER_CERT_PATH")
    if not (verify or path):
        return None
    return _of_folder(Path(path) if path else folder, verify=bool(verify))


def _of_folder(folder: Path, *, verify: bool) -> Tls:
    files = [path if (path := folder / name).is_file() else None for name in _TLS_FILES]
    return Tls(authority=files[0], certificate=files[1], key=files[2], verify=verify)


def _current(config: Path) -> str | None:
    found = _json(config)
    name = found.get("currentContext") if found else None
    return name if isinstance(name, str) else None


def _context(folder: Path, name: str, source: str) -> Endpoint:
    ident = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / ident / "meta.json"
    found = _json(meta)
    if found is None:
        raise UsageError(
            f"there is no docker context {name!r}",
            where=source,
            why=f"{meta} is not there",
            hint="see `docker context ls`, or name an engine with DOCKER_HOST",
        )
    endpoint = found.get("Endpoints", {}).get("docker", {})
    host = endpoint.get("Host") if isinstance(endpoint, dict) else None
    if not isinstance(host, str) or not host:
        raise UsageError(f"docker context {name!r} names no host", where=str(meta))
    material = folder / "contexts" / "tls" / ident / "docker"
    skip = bool(endpoint.get("SkipTLSVerify"))
    tls = _of_folder(material, verify=not skip) if material.is_dir() or skip else None
    return Endpoint(host=host, source=source, tls=tls)


def _json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object, or ``None`` where there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}", why=str(error)) from None
    if not isinstance(found, dict):
        raise UsageError(f"cannot read {path}", why="it is not a JSON object")
    return found
