"""Run as a notebook by the kernel of the image: a job on the workers, and two ranks.

Executed in the container of the notebook server, whose environment and settings it has.
"""

import sys

import nbformat
from nbclient import NotebookClient

CELLS = (
    """
import socket
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
hosts = context.parallelize(range(40), 8).map(lambda n: (socket.gethostname(), n)).groupByKey()
found = {host: sum(numbers) for host, numbers in hosts.collect()}
print("sum", sum(found.values()), "here", socket.gethostname() in found)
print("setting", context.getConf().get("spark.cores.max"))
""",
    """
from sparkdl import HorovodRunner
def train():
    import horovod.tensorflow as hvd
    import tensorflow as tf
    hvd.init()
    return float(hvd.allreduce(tf.constant(hvd.rank() + 1.0), op=hvd.Sum)), hvd.size()
print("ranks", HorovodRunner(np=2).run(train))
spark.stop()
""",
)

notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
for cell in notebook.cells:
    for output in cell.outputs:
        if output.get("name") == "stdout":
            sys.stdout.write(output.text)
