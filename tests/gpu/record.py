"""Keep this host's answers as a fixture: what NVML says, and what ``doctor`` makes of it.

    python -m tests.gpu.record tests/gpu/recorded/h100.json

``tests/unit/host/test_recorded_gpus.py`` replays each file.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from mlruntime.host.gpus import NoGpus
from mlruntime.host.nvml import read_gpus

from tests.gpu.nvidia import smi
from tests.gpu.test_host import discovered, doctor

RUNTIMES = ("6.0-ml", "7.0-ml")


def recorded() -> dict[str, object]:
    """Ask everything once."""
    found = read_gpus()
    if isinstance(found, NoGpus):
        raise SystemExit(f"{found.what}: {found.why}")
    answers = {name: doctor(name, "--variant", "gpu")[1]["runs"] for name in RUNTIMES}
    return {
        "nvml": found.to_dict(),
        "nvidia-smi": [asdict(one) for one in smi()],
        "discover-gpus": discovered(),
        "doctor": answers,
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(recorded(), indent=2) + "\n")
