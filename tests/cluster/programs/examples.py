"""The documentation's examples, one after the other in one session; what each printed."""

import contextlib
import io
import json
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

from pyspark.sql import SparkSession

SHARED = Path("/shared")


def printed(name, *words):
    """Run an example as ``python name.py words…`` would; return its standard output."""
    before, out = sys.argv, io.StringIO()
    sys.argv = [name, *words]
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(str(Path("/examples", name)), run_name="__main__")
    finally:
        sys.argv = before
    return out.getvalue()


def main():
    SparkSession.builder.getOrCreate()
    folder = Path(tempfile.mkdtemp(dir=SHARED))
    runs = {
        "one_machine.py": [],
        "several_ranks.py -2": [],
        "several_ranks.py 2": [],
        "from_a_dataframe.py": [],
        "in_a_pipeline.py": [f"file://{folder}/trained"],
        "callbacks.py": [],
        "files.py": [str(folder)],
    }
    chosen = sys.argv[1:] or runs
    found = {}
    for name in chosen:
        program, *words = name.split()
        found[name] = printed(program, *words, *runs[name])
    shutil.rmtree(folder)
    print("RESULT", json.dumps(found))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
