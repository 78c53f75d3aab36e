"""``python -m programs.main --expect FILE NAME...``: run the named checks on this cluster."""

import argparse
import json
from pathlib import Path

from . import harness
from .cluster import Cluster


def main() -> None:
    """Write one JSON event per line to stdout, and nothing else."""
    out = harness.claim_stdout()
    parser = argparse.ArgumentParser(prog="programs.main")
    parser.add_argument("--expect", type=Path, required=True)
    parser.add_argument("names", nargs="+")
    arguments = parser.parse_args()
    expect = harness.Expectation.read(json.loads(arguments.expect.read_text(encoding="utf-8")))
    cluster = Cluster(expect)
    try:
        harness.run(arguments.names, cluster, out)
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
