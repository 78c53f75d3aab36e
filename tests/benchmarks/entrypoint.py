"""What the entry point costs each start of a container, in milliseconds."""

import json
import subprocess

from tests.benchmarks.figures import Figures

RUNTIMES = ("6.0-ml", "7.0-ml")
# Runs in the container: the engine's own time to start one has no place in it.
PROGRAM = """
import json, os, resource, statistics, subprocess, time

def cost(*command, **environment):
    walls, before = [], resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(100):
        started = time.perf_counter()
        subprocess.run(command, env=os.environ | environment, check=True, stderr=subprocess.DEVNULL)
        walls.append(time.perf_counter() - started)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [statistics.median(walls) * 1000, max(walls) * 1000, used * 10]

print(json.dumps({
    "the command alone": cost("true"),
    "the entry point": cost("/opt/entrypoint.sh", "true"),
    "the entry point, with an old zone and a locale that is not there":
        cost("/opt/entrypoint.sh", "true", TZ="ROC", LANG="en_US.UTF-8"),
}))
"""


def measure() -> Figures:
    """Run a command that does nothing, with and without the entry point."""
    rows = [("runtime", "what", "median", "worst", "processor")]
    for runtime in RUNTIMES:
        command = ["docker", "run", "--rm", "--network", "none", f"mlruntime/{runtime}:cpu"]
        done = subprocess.run(
            [*command, "python", "-c", PROGRAM], check=True, stdout=subprocess.PIPE
        )
        for what, figures in json.loads(done.stdout).items():
            rows.append((runtime, what, *(f"{figure:.1f} ms" for figure in figures)))
    return Figures(
        name="entrypoint",
        note="100 runs of `true` in a running container; the images must be in the engine.",
        rows=tuple(rows),
    )
