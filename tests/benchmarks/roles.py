"""How long each role of the entry point takes from its start until it does its work."""

import json
import subprocess
from statistics import median

from tests.benchmarks.figures import Figures

RUNTIMES = ("6.0-ml", "7.0-ml")
ROUNDS = 3
# Runs in the container: the engine's own time to start one has no place in it. Ready is what a
# health check would call healthy; a driver when its program has a session, an executor when it
# calls its driver.
PROGRAM = """
import json, os, signal, socket, subprocess, sys, tempfile, time, urllib.request

ENTRY, HERE = "/opt/entrypoint.sh", tempfile.mkdtemp()
os.chdir(HERE)
os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"

def answers(path, port):
    def ready():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status == 200
        except OSError:
            return False
    return ready

def listens(port):
    def ready():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0
    return ready

def start(ready, role, *words, **environ):
    began = time.monotonic()
    log = open(f"{HERE}/{role}.log", "w")
    child = subprocess.Popen([ENTRY, role, *words], env=os.environ | environ, stdout=log,
                             stderr=log, start_new_session=True)
    while not ready():
        if child.poll() is not None or time.monotonic() > began + 300:
            sys.exit(f"{role} is not ready: " + open(log.name).read()[-2000:])
        time.sleep(0.01)
    return child, time.monotonic() - began

def stop(child):
    os.killpg(child.pid, signal.SIGKILL)
    used = os.wait4(child.pid, 0)[2]
    return used.ru_utime + used.ru_stime

def once(*start_words, **environ):
    child, took = start(*start_words, **environ)
    return took, stop(child)

def spark():
    master, took = start(answers("/json/", 8080), "master", "--host", "127.0.0.1")
    yield "worker", once(answers("/json/", 8081), "worker", "spark://127.0.0.1:7077")
    yield "master", (took, stop(master))
    os.makedirs("events", exist_ok=True)
    yield "history", once(answers("/api/v1/version", 18080), "history", f"{HERE}/events")
    with open("job.py", "w") as job:
        job.write("import time\\nfrom pyspark.sql import SparkSession\\n"
                  "SparkSession.builder.master('local[1]').getOrCreate()\\n"
                  "open('ready', 'w').close()\\ntime.sleep(600)\\n")
    yield "driver", once(lambda: os.path.exists("ready"), "driver", f"{HERE}/job.py",
                         SPARK_DRIVER_BIND_ADDRESS="127.0.0.1")
    os.unlink("ready")
    with socket.create_server(("127.0.0.1", 0)) as its_driver:
        its_driver.setblocking(False)
        def called():
            try:
                its_driver.accept()[0].close()
            except BlockingIOError:
                return False
            return True
        port = its_driver.getsockname()[1]
        yield "executor", once(
            called, "executor", SPARK_EXECUTOR_ID="1", SPARK_EXECUTOR_CORES="1",
            SPARK_DRIVER_URL=f"spark://CoarseGrainedScheduler@127.0.0.1:{port}",
            SPARK_EXECUTOR_MEMORY="512m", SPARK_EXECUTOR_POD_IP="127.0.0.1",
            SPARK_APPLICATION_ID="spark-1", SPARK_EXECUTOR_POD_NAME="one")
    if any("spark-connect" in jar for jar in os.listdir("/opt/spark/jars")):
        yield "connect", once(listens(15002), "connect", "--master", "local[1]",
                              "--conf", "spark.ui.enabled=false")

def notebook():
    yield "notebook", once(answers("/api", 8888), "notebook")

for _ in range(int(sys.argv[2])):
    for role, figures in {"spark": spark, "notebook": notebook}[sys.argv[1]]():
        print(json.dumps([role, *figures]), flush=True)
"""


def measure() -> Figures:
    """Start every role of both runtimes several times; that of JupyterLab where its image is."""
    rows: list[tuple[str, ...]] = [("runtime", "role", "median", "worst", "processor, median")]
    for runtime in RUNTIMES:
        found = _roles(f"mlruntime/{runtime}:cpu", "spark")
        lab = f"mlruntime/{runtime}:cpu-notebook"
        if subprocess.run(["docker", "image", "inspect", lab], capture_output=True).returncode:
            rows.append((runtime, "notebook", f"not run: no {lab}", "", ""))
        else:
            found |= _roles(lab, "notebook")
        for role, figures in found.items():
            took, used = zip(*figures, strict=True)
            texts = (f"{seconds:.2f} s" for seconds in (median(took), max(took), median(used)))
            rows.append((runtime, role, *texts))
    return Figures(
        name="roles",
        note=f"{ROUNDS} rounds in a running container, until each is ready to work; the images must"
        " be in the engine.",
        rows=tuple(rows),
    )


def _roles(image: str, which: str) -> dict[str, list[tuple[float, float]]]:
    """Return (seconds, processor seconds) of each start, by role."""
    command = ["docker", "run", "--rm", "--network", "none", image, "python", "-c", PROGRAM]
    done = subprocess.run([*command, which, str(ROUNDS)], check=True, stdout=subprocess.PIPE)
    found: dict[str, list[tuple[float, float]]] = {}
    for line in done.stdout.splitlines():
        role, took, used = json.loads(line)
        found.setdefault(role, []).append((took, used))
    return found
