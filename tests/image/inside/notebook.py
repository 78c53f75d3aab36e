"""What a notebook does here: a Spark job, and Spark's page as a browser gets it through Jupyter.

Written as a notebook and executed by the image's kernel. The argument is a token of the JupyterLab
that runs in this container.
"""

import json
import os
import sys
import urllib.request

import nbformat
from nbclient import NotebookClient

CELLS = (
    """
import os
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").getOrCreate()
print(spark.range(7).count())
""",
    """
import urllib.request
def got(path):
    address = f"http://127.0.0.1:8888{path}"
    known = {"Authorization": "token " + os.environ["ASKED"]}
    asked = urllib.request.Request(address, headers=known)
    with urllib.request.urlopen(asked) as answer:
        return answer.status, answer.read().decode()
status, page = got("/proxy/4040/jobs/")
print(status, 'href="/proxy/4040/stages/"' in page)
style = page.split('href="', 1)[1].split('"', 1)[0]
print(style.startswith("/proxy/4040/static/"), got(style)[0])
""",
)

os.environ["ASKED"] = sys.argv[1]
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
for cell in notebook.cells:
    for output in cell.outputs:
        if output.get("name") == "stdout":
            sys.stdout.write(output.text)

# JupyterLab can start a kernel, too.
asked = urllib.request.Request(
    "http://127.0.0.1:8888/api/kernels",
    data=b"{}",
    headers={"Authorization": f"token {sys.argv[1]}", "Content-Type": "application/json"},
)
with urllib.request.urlopen(asked) as answer:
    print("kernel", json.load(answer)["name"])
