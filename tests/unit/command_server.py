"""A process that runs the command line again and again: starting one takes longer than asking.

Each line on stdin is a JSON object, words and environment; each on stdout what came of it.
"""

import contextlib
import io
import json
import os
import sys

from mlruntime.cli import main

KEPT = "STUB_NVML_"


def answer(words: list[str], variables: dict[str, str]) -> dict[str, object]:
    for name in [name for name in os.environ if name.startswith(KEPT)]:
        del os.environ[name]
    os.environ.update(variables)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)
