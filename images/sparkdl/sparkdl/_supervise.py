"""One run: attempt after attempt, until one of them has a result or no more are allowed."""

import secrets
import time
from pathlib import Path
from typing import Any

import cloudpickle

from sparkdl._attempt import Attempt
from sparkdl._errors import HorovodRunnerError, RankLost
from sparkdl._launcher import Launcher
from sparkdl._logs import RunLogs
from sparkdl._options import RunOptions


def run(launcher: Launcher, np: int, options: RunOptions, everything: bool) -> Any:
    """Run attempts until one succeeds or no more are allowed; return what rank 0 returned.

    A result that has come so far is never lost: who is interrupted, or cannot unpickle it, finds
    it in the run's log directory.
    """
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    logs = RunLogs(
        directory=options.log_directory,
        run=name,
        everything=everything,
        limit=options.log_limit,
        keep=options.keep_logs,
        checkpoints=options.checkpoint_directory,
        resume_from=options.resume_from,
    )
    try:
        try:
            pickled = _attempts(launcher, np, options, logs)
        finally:
            launcher.close()
        result = _unpickled(pickled, logs)
        logs.succeeded()
        return result
    except HorovodRunnerError as error:
        logs.event(str(error))
        note = f"{logs.where()[:1].upper()}{logs.where()[1:]}."
        if (left := logs.checkpoint_left()) is not None:
            note += f" Go on from the last checkpoint with {_resuming(left)}."
        error.args = (f"{error.args[0]}\n\n{note}",)
        raise
    except KeyboardInterrupt:
        logs.event("interrupted")
        if (kept := logs.keep_result()) is not None:
            logs.tell(f"interrupted after all ranks had returned; {_reading(kept)}")
        elif (left := logs.checkpoint_left()) is not None:
            logs.tell(f"interrupted; go on from the last checkpoint: {_resuming(left)}")
        raise
    finally:
        logs.close()


def _unpickled(pickled: bytes, logs: RunLogs) -> Any:
    try:
        return cloudpickle.loads(pickled)
    except Exception as error:
        if (kept := logs.keep_result()) is not None:
            logs.tell(f"rank 0's result cannot be unpickled here ({error!r}); {_reading(kept)}")
        raise


def _reading(kept: Path) -> str:
    return f"rank 0's result is kept: pickle.load(open({str(kept)!r}, 'rb'))"


def _resuming(left: Path) -> str:
    return f"options(resume_from={str(left)!r})"


def _attempts(launcher: Launcher, np: int, options: RunOptions, logs: RunLogs) -> bytes:
    for attempt in range(options.max_restarts + 1):
        logs.begin(attempt)
        logs.event(f"attempt {attempt} with {np} ranks")
        try:
            return Attempt(launcher, np, options, logs, attempt).run()
        except RankLost as error:
            if attempt == options.max_restarts:
                raise
            logs.tell(
                f"{error.args[0].splitlines()[0]}; starting again "
                f"({attempt + 1} of {options.max_restarts})"
            )
            logs.show()
            np = launcher.slots(np, options, logs)
    raise AssertionError("unreachable")
