"""The first process in a SLURM's namespaces: ``python -m tests.slurm.init STATE``.

It starts the daemons, and waits until one ends; all others end with it then.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.slurm.controller import NODES


def main(state: Path) -> None:
    """Start munge, the controller and the nodes; return when one has ended."""
    # A name that resolves without the network that these namespaces do not have.
    subprocess.run(["hostname", "localhost"], check=True)
    for words in (
        "link set lo up",
        # SLURM finds no address at all, not even 127.0.0.1, on a host that only has that.
        "link add here type veth peer name there",
        "address add 192.0.2.1/24 dev here",
        "link set here up",
        "link set there up",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    munge = ["munged", "--foreground", "--force", f"--socket={state}/munge.socket",
             f"--key-file={state}/munge.key", f"--pid-file={state}/munge.pid",
             f"--log-file={state}/munge.log", f"--seed-file={state}/munge.seed"]  # fmt: skip
    daemons = [munge, ["slurmctld", "-D"], *(["slurmd", "-D", "-N", node] for node in NODES)]
    started = {subprocess.Popen(words).pid for words in daemons}
    while os.wait()[0] not in started:  # orphans of jobs come to us, too
        pass


if __name__ == "__main__":
    main(Path(sys.argv[1]))
