"""The driver's end of a run: where ranks find each other, and report that they failed."""

import json
import threading
from http.client import HTTPConnection
from types import TracebackType
from typing import Self

from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

from sparkdl._errors import Failure

_STARTED, _FAILED = "sparkdl-started", "sparkdl-failed"
_REPORT_SECONDS = 5


class Rendezvous:
    """Horovod's key-value server on a free port, for the length of a ``with`` block.

    It listens on ``host``'s address if this machine has it, else on every interface (the
    address the cluster knows may belong to a gateway in front of this machine).
    """

    def __init__(self, host: str) -> None:
        try:
            self._server = RendezvousHTTPServer((host, 0), RendezvousHandler, 0)
        except OSError:
            self._server = RendezvousHTTPServer(("", 0), RendezvousHandler, 0)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        # Horovod's own wrapper polls twice a second for the end; a run should not wait for that.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="sparkdl-rendezvous", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _values(self, scope: str) -> list[bytes]:
        with self._server.cache_lock:
            return list(self._server.cache.get(scope, {}).values())

    def failures(self) -> list[Failure]:
        """Return what ranks reported, the earliest first."""
        return [Failure.from_json(value) for value in self._values(_FAILED)]

    def started(self) -> dict[int, tuple[int, str]]:
        """Return partition -> (rank, host) of the ranks that got as far as starting ``main``."""
        entries = [json.loads(value) for value in self._values(_STARTED)]
        return {entry["partition"]: (entry["rank"], entry["host"]) for entry in entries}


def report_start(address: str, port: int, *, partition: int, rank: int, host: str) -> None:
    """Tell the driver which rank this task became; raises ``OSError`` if it does not answer."""
    body = json.dumps({"partition": partition, "rank": rank, "host": host}).encode()
    _put(address, port, _STARTED, rank, body)


def report_failure(address: str, port: int, failure: Failure) -> None:
    """Tell the driver why this rank failed; raises ``OSError`` if it does not answer."""
    _put(address, port, _FAILED, failure.rank, failure.to_json())


def _put(address: str, port: int, scope: str, rank: int, body: bytes) -> None:
    connection = HTTPConnection(address, port, timeout=_REPORT_SECONDS)
    try:
        connection.request("PUT", f"/{scope}/{rank}", body=body)
        connection.getresponse().read()
    finally:
        connection.close()
