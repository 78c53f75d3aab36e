"""Runs in the driver's container: one Spark session, and the jobs that a test puts into a folder.

A job is a JSON file; what came of it is a line on stdout, after a marker.
"""

import importlib
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

MARK = "@@"


def say(**event: Any) -> None:
    print(f"\n{MARK}{json.dumps(event)}", flush=True)


def found(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def answer(job: dict[str, Any]) -> Any:
    function = found(job["call"])
    if "np" not in job:
        return function(**job["arguments"])
    from sparkdl import HorovodRunner

    runner = HorovodRunner(np=job["np"], driver_log_verbosity=job["verbosity"])
    return runner.options(**job["options"]).run(function, **job["arguments"])


def do(job: dict[str, Any]) -> None:
    began = time.time()
    try:
        event = {"result": answer(job)}
    except BaseException as error:
        traceback.print_exc()
        event = {
            "error": type(error).__name__,
            "text": str(error),
            "rank": getattr(error, "rank", None),
        }
    say(job=job["id"], seconds=time.time() - began, began=began, **event)


def main() -> None:
    folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("tests")
    for name, value in settings.items():
        builder = builder.config(name, value)
    builder.getOrCreate()
    folder.mkdir(exist_ok=True)
    say(pid=os.getpid())
    done: set[str] = set()
    while True:
        try:
            for path in sorted(folder.glob("*.json")):
                if path.name in done:
                    continue
                done.add(path.name)
                job = json.loads(path.read_text())
                if job["thread"]:
                    threading.Thread(target=do, args=(job,), daemon=True).start()
                else:
                    do(job)
            time.sleep(0.02)
        except KeyboardInterrupt:
            print("interrupted between jobs", flush=True)


if __name__ == "__main__":
    main()
