"""Two ranks on two hosts: what they add up, and over which addresses."""

import json

from pyspark.sql import SparkSession
from sparkdl import HorovodRunner


def main():
    import os
    from pathlib import Path

    import horovod.tensorflow as hvd
    import tensorflow as tf

    hvd.init()
    total = hvd.allreduce(tf.constant([1.0 + hvd.rank()]), op=hvd.Sum).numpy().tolist()
    # Established connections between two addresses of the network, fd00:5::/64.
    lines = Path("/proc/net/tcp6").read_text().splitlines()[1:]
    ours = [line for line in lines if line.split()[2].startswith("050000FD")]
    rendezvous = os.environ["HOROVOD_GLOO_RENDEZVOUS_ADDR"].partition(":")[0]
    return {"total": total, "connected": len(ours) > 1, "rendezvous": rendezvous}


SparkSession.builder.getOrCreate()
found = HorovodRunner(np=2).options(log_directory="/tmp/logs", start_timeout=300).run(main)
print("found", json.dumps(found, sort_keys=True))
