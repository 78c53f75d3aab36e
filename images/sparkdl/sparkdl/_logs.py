"""What a run leaves on the driver: a directory of its own, and lines on the screen."""

import contextlib
import json
import os
import queue
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from sparkdl import _retention
from sparkdl._progress import metrics_line, progress_line
from sparkdl.horovod.checkpoint import DATA, NAME, PATH, write

_LINE = 1 << 16
_WAITING_LINES = 10_000
_MESSAGE_SECONDS = 5.0
_LAST_LINES, _LAST_BYTES = 12, 4096


class RunLogs:
    """The log directory of one run, and what is to be shown of it.

    ``output`` and the other methods that take what ranks say are called from threads, and never
    wait for the screen; ``show`` is called by the thread that runs ``HorovodRunner.run``.
    The directory holds ``rank-N.log`` (stdout and stderr, as written), ``run.log`` (what the
    driver noticed, and messages), ``metrics.jsonl`` and ``timeline.json``; ``result.pickle`` if
    the driver could not return what rank 0 had returned.
    """

    def __init__(
        self,
        *,
        directory: str | None,
        run: str,
        everything: bool,
        limit: int,
        keep: int | None,
        checkpoints: str | None,
        resume_from: str | None,
    ) -> None:
        self.everything, self.limit, self.keep = everything, limit, keep
        self.attempt = 0
        self.path = _made(directory, run)
        self._occupied = None if self.path is None else _retention.occupy(self.path)
        # Rank 0's pickled result, as soon as the driver has it.
        self.finished: bytes | None = None
        self.checkpoints = None if checkpoints is None else Path(checkpoints) / run
        if self.checkpoints is not None:
            self.checkpoints.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._start: bytes = b""
        self._saved: bytes = b""
        if resume_from is not None:
            self._start = DATA + Path(resume_from).read_bytes()
        self._lines: queue.Queue[str] = queue.Queue(_WAITING_LINES)
        self._progress: str | None = None
        self._shown_progress = False
        self._missed = 0
        self._incomplete = False
        self._lock = threading.Lock()
        self._files: dict[str, IO[bytes]] = {}
        self._written: dict[int, int] = {}
        self._partial: dict[int, bytes] = {}

    # What ranks say.

    def output(self, rank: int, data: bytes) -> None:
        """Keep what a rank wrote, up to the limit, and line it up for the screen if asked to."""
        with self._lock:
            before = self._written.get(rank, 0)
            self._written[rank] = before + len(data)
            self._append(self.rank_file(rank), data[: max(0, self.limit - before)])
        if self.everything:
            *lines, rest = (self._partial.get(rank, b"") + data).split(b"\n")
            if len(rest) > _LINE:
                lines, rest = [*lines, rest], b""
            self._partial[rank] = rest
            for number, line in enumerate(lines):
                if self._lines.full():
                    self._missed += len(lines) - number
                    break
                self._offer(f"[{rank}] {_text(line)}")

    def timeline(self, data: bytes) -> None:
        """Keep a part of Horovod's timeline."""
        with self._lock:
            self._append(self._numbered("timeline", ".json"), data)

    def message(self, rank: int, text: str) -> None:
        """Keep and show what a rank gave to ``log_to_driver``."""
        self._note(f"[{rank}] {text}")
        with contextlib.suppress(queue.Full):
            self._lines.put(f"[{rank}] {text}", timeout=_MESSAGE_SECONDS)

    def metrics(self, rank: int, metrics: Mapping[str, Any]) -> None:
        """Keep and show how far the training is."""
        with self._lock:
            self._append("metrics.jsonl", json.dumps({"rank": rank, **metrics}).encode() + b"\n")
        self._progress = progress_line(rank, metrics)
        line = metrics_line(rank, metrics)
        if line is not None:
            self._note(line)
            self._offer(line)

    def save(self, data: bytes) -> None:
        """Keep a checkpoint: in the run's directory, in memory when there is none."""
        if self.path is None:
            self._saved = data
        else:
            write(self.path / NAME, data)

    def load(self) -> bytes:
        """Return what this attempt starts from, as ``sparkdl.horovod.checkpoint`` reads it."""
        return self._start

    # What the driver does.

    def begin(self, attempt: int) -> None:
        """Start an attempt: from now on ``load`` gives the newest checkpoint there is now."""
        self.attempt = attempt
        if attempt == 0:
            return
        self._written.clear()
        self._partial.clear()
        if self.checkpoints is not None:
            for number in range(attempt - 1, -1, -1):
                path = self.checkpoints / f"{NAME}-{number}"
                if path.exists():
                    self._start = PATH + str(path).encode()
                    return
        elif self.path is None:
            self._start = DATA + self._saved if self._saved else self._start
        elif (self.path / NAME).exists():
            self._start = DATA + (self.path / NAME).read_bytes()

    def event(self, text: str) -> None:
        """Keep something that the driver noticed."""
        self._note(text)

    def tell(self, text: str) -> None:
        """Keep and show something that the user has to know."""
        self._note(text)
        self._offer(f"HorovodRunner: {text}")

    def show(self) -> bool:
        """Print the lines that have come in since the last call; return whether there were any."""
        shown = False
        with contextlib.suppress(queue.Empty, OSError, ValueError):
            for _ in range(_WAITING_LINES):
                line = self._lines.get_nowait()
                self._clear_progress()
                print(line)  # noqa: T201
                shown = True
        if shown and self._missed:
            print(f"HorovodRunner: {self._missed} lines were not shown; {self.where()}")  # noqa: T201
            self._missed = 0
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if self._progress is not None and sys.stdout.isatty():
                sys.stdout.write(f"\r\x1b[K{self._progress}")
                self._shown_progress, self._progress = True, None
            sys.stdout.flush()
        return shown

    def where(self) -> str:
        """Say where the logs are."""
        return "no logs were kept" if self.path is None else f"all ranks' logs are in {self.path}"

    def last_words(self, rank: int) -> str:
        """Return the end of what a rank wrote."""
        if self.path is None:
            return ""
        with self._lock:
            for file in self._files.values():
                file.flush()
        try:
            with (self.path / self.rank_file(rank)).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES))
                return "\n".join(_text(file.read()).splitlines()[-_LAST_LINES:])
        except OSError:
            return ""

    def checkpoint_left(self) -> Path | None:
        """Return the file with the newest checkpoint, if there is one."""
        if self.checkpoints is not None:
            found = sorted(self.checkpoints.glob(f"{NAME}-*"), key=lambda one: one.stat().st_mtime)
            return found[-1] if found else None
        if self.path is not None and (self.path / NAME).exists():
            return self.path / NAME
        return None

    def keep_result(self) -> Path | None:
        """Write rank 0's pickled result, if it is there; return the file."""
        if self.finished is None or self.path is None:
            return None
        file = self.path / _retention.RESULT
        try:
            write(file, self.finished)
        except OSError:
            return None
        return file

    def succeeded(self) -> None:
        """Remove the checkpoints: the run has given its result."""
        with contextlib.suppress(OSError):
            if self.path is not None:
                (self.path / NAME).unlink(missing_ok=True)
            if self.checkpoints is not None:
                for file in self.checkpoints.iterdir():
                    file.unlink()
                self.checkpoints.rmdir()

    def close(self) -> None:
        """Write what is left of each rank's last line, close the files, and prune old runs'."""
        if self.everything:
            for rank, rest in sorted(self._partial.items()):
                if rest:
                    self._offer(f"[{rank}] {_text(rest)}")
        with self._lock:
            for rank, size in self._written.items():
                if size > self.limit:
                    note = f"\n[{size - self.limit} bytes beyond log_limit were dropped]\n"
                    self._append(self.rank_file(rank), note.encode())
        self.show()
        self._clear_progress()
        with self._lock:
            for file in self._files.values():
                with contextlib.suppress(OSError):  # some disks say only now that they are full
                    file.close()
            self._files.clear()
        if self.path is not None and self.keep is not None:
            _retention.prune(self.path.parent, self.keep)
        if self._occupied is not None:
            os.close(self._occupied)
            self._occupied = None

    def rank_file(self, rank: int) -> str:
        """Return the name of a rank's log in this attempt."""
        return self._numbered(f"rank-{rank}", ".log")

    def _numbered(self, name: str, ending: str) -> str:
        restart = f".restart-{self.attempt}" if self.attempt else ""
        return f"{name}{restart}{ending}"

    def _append(self, name: str, data: bytes) -> None:
        if self.path is None or not data:
            return
        try:
            if name not in self._files:
                self._files[name] = (self.path / name).open("ab", buffering=0)
            self._files[name].write(data)
        except OSError as error:  # a full disk, or a directory that was removed
            if not self._incomplete:
                self._incomplete = True
                self._offer(
                    "HorovodRunner: WARNING: the run goes on, but its logs are not complete: "
                    f"{error}"
                )

    def _note(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        with self._lock:
            self._append("run.log", f"{stamp} {text}\n".encode(errors="replace"))

    def _offer(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._missed += 1

    def _clear_progress(self) -> None:
        if self._shown_progress:
            sys.stdout.write("\r\x1b[K")
            self._shown_progress = False


def _made(directory: str | None, run: str) -> Path | None:
    """Make the run's directory, for its owner only; by default a failure to is only told."""
    path = Path(directory or "sparkdl-logs").absolute() / run
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
    except OSError as error:
        if directory is not None:
            raise
        warnings.warn(
            f"the ranks' logs are not kept: {error}; give options(log_directory=…)",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return path


def _text(data: bytes) -> str:
    return data.decode(errors="replace").rstrip("\r")
