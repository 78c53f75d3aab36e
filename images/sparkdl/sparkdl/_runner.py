"""The public class."""

import warnings

_VERBOSITIES = ("all", "log_callback_only")


class HorovodRunner:
    """Runs a training function on several ranks at once, joined by Horovod over Gloo.

    ``np`` > 0: that many tasks of one Spark barrier stage, one rank each, across the cluster's
    executors; ``np`` < 0: -``np`` processes on the driver's host, without Spark; ``np`` = 0:
    as many ranks as the cluster has task slots (deprecated: say how many).

    ``driver_log_verbosity`` is ``"all"`` or ``"log_callback_only"``. Both methods have the
    signature of Databricks' class to the letter, which has no annotations.
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

    def run(self, main, **kwargs):
        """Call ``main(**kwargs)`` on every rank and return what rank 0 returns.

        ``main`` and its arguments travel by cloudpickle, so ``main`` imports what it needs and
        calls ``hvd.init()`` itself. Raises ``RankFailed`` with the first failing rank's
        traceback, and ``NotEnoughSlots`` within seconds when the cluster is too small.
        """
        if not callable(main):
            raise TypeError(f"main must be callable, not {type(main).__name__}")
        import cloudpickle

        payload = cloudpickle.dumps((main, kwargs))
        run = _local if self.num_processor < 0 else _cluster
        return cloudpickle.loads(run(payload, abs(self.num_processor)))


def _local(payload: bytes, np: int) -> bytes:
    from sparkdl import _local as local

    return local.run(payload, np)


def _cluster(payload: bytes, np: int) -> bytes:
    # Local ranks need neither Spark nor a JVM.
    from pyspark.sql import SparkSession

    from sparkdl import _barrier as barrier

    context = SparkSession.builder.getOrCreate().sparkContext
    found = barrier.require_slots(context, max(np, 1))
    return barrier.run(context, payload, np or found)
