"""The public class."""

import copy
import os
import warnings

from sparkdl._options import RunOptions

_VERBOSITIES = ("all", "log_callback_only")


class HorovodRunner:
    """Runs a training function on several ranks at once, joined by Horovod over Gloo.

    ``np`` > 0: that many tasks of one Spark barrier stage, one rank each, across the cluster's
    executors; ``np`` < 0: -``np`` processes on the driver's host, without Spark; ``np`` = 0:
    as many ranks as the cluster has task slots (deprecated: say how many).

    ``driver_log_verbosity`` is ``"all"``, to see every line that a rank writes, or
    ``"log_callback_only"``, to see what ``sparkdl.horovod.log_to_driver`` and ``LogCallback``
    send. Both methods have the signature of Databricks' class to the letter, which has no
    annotations; everything else is in ``options``.
    """

    def __init__(self, *, np, driver_log_verbosity="log_callback_only"):
        if isinstance(np, bool) or not isinstance(np, int):
            raise TypeError(f"np must be a whole number, not {type(np).__name__}")
        if driver_log_verbosity not in _VERBOSITIES:
            known = " or ".join(repr(one) for one in _VERBOSITIES)
            raise ValueError(f"driver_log_verbosity is {known}, not {driver_log_verbosity!r}")
        if np == 0:
            warnings.warn(
                "np=0 (all task slots) is deprecated: give the number of ranks",
                DeprecationWarning,
                stacklevel=2,
            )
        self.num_processor = np
        self.driver_log_verbosity = driver_log_verbosity
        self._options = RunOptions()

    def options(self, **options):
        """Return a runner with some options changed; see ``sparkdl.RunOptions`` for all of them.

        ``HorovodRunner(np=4).options(max_restarts=2, log_directory="logs").run(train)``
        """
        runner = copy.copy(self)
        runner._options = self._options.changed(
            {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in options.items()}
        )
        return runner

    def run(self, main, **kwargs):
        """Call ``main(**kwargs)`` on every rank and return what rank 0 returns.

        ``main`` and its arguments travel by cloudpickle, so ``main`` imports what it needs and
        calls ``hvd.init()`` itself. It runs in a new process, which ends with the run.

        Raises ``RankFailed`` with the first failing rank's traceback, ``RankLost`` (one of them)
        when a rank died or hung and no restart is left, ``NotEnoughSlots``, ``NotSendable`` or
        ``UnsuitableCluster`` before anything was started, and ``RunCancelled``. Ctrl-C ends
        every rank's process before ``KeyboardInterrupt`` is raised; if all ranks had returned by
        then, the result is kept in the run's log directory.
        """
        if not callable(main):
            raise TypeError(f"main must be callable, not {type(main).__name__}")
        from sparkdl import _payload

        payload = _payload.pack(main, kwargs)
        run = _local if self.num_processor < 0 else _cluster
        everything = self.driver_log_verbosity == "all"
        terms = _terms(self._options, _payload.frameworks(main, payload))
        np = abs(self.num_processor)
        return run(payload, terms, np, self._options, everything)


def _terms(options, frameworks):
    from sparkdl._attend import Terms

    return Terms(
        interface=options.interface,
        threads=options.threads,
        environment=dict(options.environment),
        preload=frameworks,
        keep_warm=options.keep_warm,
        import_timeout=options.import_timeout,
    )


def _local(payload, terms, np, options, everything):
    from sparkdl import _gpus, _supervise
    from sparkdl._local import LocalTasks

    gpus = _gpus.for_ranks({**os.environ, **options.environment}, np)
    return _supervise.run(LocalTasks(payload, terms, gpus), np, options, everything)


def _cluster(payload, terms, np, options, everything):
    # Local ranks need neither Spark nor a JVM.
    from pyspark.sql import SparkSession

    from sparkdl import _barrier, _slots, _supervise
    from sparkdl._cluster import require_suitable

    context = _context(SparkSession.builder.getOrCreate())
    require_suitable(context.getConf().get)
    found = _slots.require_slots(context, max(np, 1), options.executor_timeout)
    tasks = _barrier.SparkTasks(context, payload, terms)
    return _supervise.run(tasks, np or found, options, everything)


def _context(session):
    from sparkdl._errors import UnsuitableCluster

    try:
        return session.sparkContext
    except Exception as error:
        raise UnsuitableCluster(
            "this Spark session has no SparkContext (it is a Spark Connect session), and ranks "
            "are started through one. Run the driver program on the cluster, or use np < 0."
        ) from error
