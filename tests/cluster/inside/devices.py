"""What is asked of GPUs, on ranks and in tasks. It must not name a framework: ranks are then not
given one ahead.
"""

import importlib
import json
import os
import socket
from pathlib import Path
from typing import Any


def look(name: str, framework: tuple[str, ...] = ()) -> Any:
    """Note which GPUs this rank sees; import what would use them, its name in parts."""
    folder = Path("/shared") / name
    folder.mkdir(exist_ok=True)
    seen = {
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "local": int(os.environ["HOROVOD_LOCAL_RANK"]),
    }
    (folder / os.environ["HOROVOD_RANK"]).write_text(json.dumps(seen))
    if framework:
        importlib.import_module("".join(framework))
    return seen


def tasks(count: int) -> Any:
    """Return the host and the GPUs of tasks that run at the same time."""
    from pyspark import BarrierTaskContext, SparkContext

    def task(_rows: Any) -> Any:
        context = BarrierTaskContext.get()
        context.barrier()
        yield socket.gethostname(), list(context.resources()["gpu"].addresses)

    context = SparkContext.getOrCreate()
    return context.parallelize(range(count), count).barrier().mapPartitions(task).collect()
