"""Everything about a run beyond upstream's two arguments, with the defaults."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """Options of ``HorovodRunner(np=…).options(…)``; without that call these defaults hold.

    Starting
        ``executor_timeout``: seconds to wait for executors that ``spark.executor.instances``
        promises and that are not there yet. ``queue_timeout``: seconds to wait for task slots that
        other jobs hold; an hour (``None``: as long as they do). ``import_timeout``: seconds that
        importing a framework for ranks may take.

    Surviving
        ``max_restarts``: how often a run is started again after a rank's process, executor or
        machine was lost, or a rank hung; never after ``main`` itself raised.
        ``elastic``: go on with fewer ranks, at least ``min_np``, when lost slots are not back
        after ``slot_timeout`` seconds. ``rank_timeout``: seconds without a sign of life, or
        stopped by a signal, after which a rank counts as lost. ``start_timeout``: seconds
        between the first rank's arrival and the last one's. ``stall_timeout``: end a run in
        which a rank has waited that many seconds in a collective, and say for which rank and
        where each of them is; half an hour, for a rank may evaluate or compile for long while
        the others wait for it (``None``: they wait for ever).

    Being right
        ``check_weights``: after every ``fit`` of a Keras model, compare the ranks' weights by hash,
        and end the run where they differ in what was trained.

    Checkpoints (``sparkdl.horovod.checkpoint``)
        ``checkpoint_directory``: a folder that the driver and all ranks see; without it they
        travel through the driver, which keeps the newest in the run's directory until the run
        has succeeded. ``resume_from``: the file in which an earlier run left its last one.

    Seeing it run
        ``log_directory``: where each run gets a directory of its own; ``None``: ``sparkdl-logs``
        in the driver's working directory. ``log_limit``: bytes of output kept of each rank;
        what is beyond is counted and dropped. ``keep_logs``: how many runs' directories are
        kept there, the newest (``None``: all); never removed are those of runs in progress and
        those with a checkpoint in them. ``timeline``: keep Horovod's timeline there too.

    Placement
        ``interface``: the network interface that ranks talk over, by name, on every host;
        ``None``: what ``HOROVOD_GLOO_IFACE`` says on each, else the one that leads to the other
        ranks. ``driver_port``: the port on which the
        driver listens; 0: any free one. ``threads``: OpenMP, BLAS and TensorFlow threads per
        rank; ``None``: the cores of the task's slot. ``visible_gpus``: ``"own"``, a rank sees the
        one GPU that Spark gave to its task; ``"host"``, it sees those of all ranks of its host, in
        the order of their local ranks, for scripts that say ``gpus[hvd.local_rank()]``.
        ``environment``: more variables for ranks.

    Starting quickly
        ``keep_warm``: seconds for which a process with the frameworks loaded waits on each
        executor for the next run; 0: none waits.
    """

    executor_timeout: float = 300.0
    queue_timeout: float | None = 3600.0
    import_timeout: float = 600.0
    max_restarts: int = 0
    elastic: bool = False
    min_np: int = 1
    slot_timeout: float = 60.0
    rank_timeout: float = 30.0
    start_timeout: float = 60.0
    stall_timeout: float | None = 1800.0
    check_weights: bool = False
    checkpoint_directory: str | None = None
    resume_from: str | None = None
    log_directory: str | None = None
    log_limit: int = 256 << 20
    keep_logs: int | None = 100
    timeline: bool = False
    interface: str | None = None
    driver_port: int = 0
    threads: int | None = None
    visible_gpus: str = "own"
    environment: Mapping[str, str] = field(default_factory=dict)
    keep_warm: float = 600.0

    def __post_init__(self) -> None:
        """Refuse values that could only fail later, on a rank."""
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or (bool not in kind and isinstance(value, bool)):
                names = " or ".join("None" if one is _NONE else one.__name__ for one in kind)
                raise TypeError(f"{name} must be {names}, not {type(value).__name__}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:  # nan, too
                raise ValueError(f"{name} must be at least {least:g}, not {value:g}")
        if self.import_timeout > _MOST_IMPORT_SECONDS:
            most = f"{_MOST_IMPORT_SECONDS:g}"
            raise ValueError(f"import_timeout must be at most {most}, not {self.import_timeout:g}")
        if self.visible_gpus not in _VISIBLE_GPUS:
            known = " or ".join(repr(one) for one in _VISIBLE_GPUS)
            raise ValueError(f"visible_gpus is {known}, not {self.visible_gpus!r}")
        for name, value in self.environment.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"environment maps names to text, not {name!r} to {value!r}")

    def changed(self, options: Mapping[str, object]) -> "RunOptions":
        """Return these options with some changed; an unknown name is a ``TypeError``."""
        known = [one.name for one in dataclasses.fields(self)]
        for name in options:
            if name not in known:
                import difflib

                close = difflib.get_close_matches(name, known, 1)
                hint = f" Did you mean {close[0]}?" if close else f" There are {', '.join(known)}."
                raise TypeError(f"HorovodRunner has no option {name!r}.{hint}")
        return dataclasses.replace(self, **options)


_VISIBLE_GPUS = ("own", "host")
_NONE = type(None)
# A day: what a socket and a timer can wait for several modules has a limit, too.
_MOST_IMPORT_SECONDS = 86400.0
_KINDS: dict[str, tuple[type, ...]] = {
    "executor_timeout": (int, float),
    "queue_timeout": (int, float, _NONE),
    "import_timeout": (int, float),
    "max_restarts": (int,),
    "elastic": (bool,),
    "min_np": (int,),
    "slot_timeout": (int, float),
    "rank_timeout": (int, float),
    "start_timeout": (int, float),
    "stall_timeout": (int, float, _NONE),
    "check_weights": (bool,),
    "checkpoint_directory": (str, _NONE),
    "resume_from": (str, _NONE),
    "log_directory": (str, _NONE),
    "log_limit": (int,),
    "keep_logs": (int, _NONE),
    "timeline": (bool,),
    "interface": (str, _NONE),
    "driver_port": (int,),
    "threads": (int, _NONE),
    "visible_gpus": (str,),
    "environment": (Mapping,),
    "keep_warm": (int, float),
}
_LEAST = {
    "executor_timeout": 0,
    "queue_timeout": 1,
    "import_timeout": 1,
    "max_restarts": 0,
    "min_np": 1,
    "slot_timeout": 0,
    "rank_timeout": 2,
    "start_timeout": 1,
    "stall_timeout": 1,
    "log_limit": 0,
    "keep_logs": 1,
    "driver_port": 0,
    "threads": 1,
    "keep_warm": 0,
}
