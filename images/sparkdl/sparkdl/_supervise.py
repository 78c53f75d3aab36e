"""One run: attempt after attempt, until one of them has a result or no more are allowed."""

import secrets
import time
from pathlib import Path

from sparkdl._attempt import Attempt
from sparkdl._errors import HorovodRunnerError, RankLost
from sparkdl._launcher import Launcher
from sparkdl._logs import RunLogs
from sparkdl._options import RunOptions


def run(launcher: Launcher, np: int, options: RunOptions, everything: bool) -> bytes:
    """Run attempts until one succeeds or no more are allowed; return rank 0's pickled result."""
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
        result = _attempts(launcher, np, options, logs)
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
        if (left := logs.checkpoint_left()) is not None:
            logs.tell(f"interrupted; go on from the last checkpoint: {_resuming(left)}")
        raise
    finally:
        logs.close()


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
