"""The files of ``ci render``, as they are kept in tests/golden/ci.

``python -m tests.documents`` writes them anew.
"""

from pathlib import Path

from mlruntime.ci.rendering import SERVICES, PipelineRequest
from mlruntime.definitions.files import Definitions
from mlruntime.workflows.ci import ci_files

CHECKOUT = Path(__file__).parents[1]
GOLDEN = "tests/golden/ci"
IMAGE = "registry.example.org/ci@sha256:" + "87e610db" * 8
REGISTRIES = {"github": "ghcr.io/example/ml", "gitlab": "registry.example.org/ml"}


def wanted(service: str, **others: object) -> PipelineRequest:
    """Return what the golden files are rendered with."""
    known: dict[str, object] = {
        "version": "1.2.3",
        "registry": REGISTRIES[service],
        "gpu_runner": "gpu",
        "sweeps": (("7.0-ml", "sweeps/7.0-ml.yaml"),),
        "image": IMAGE if service == "gitlab" else None,
    }
    return PipelineRequest(**{**known, **others})  # type: ignore[arg-type]


def files(service: str, **others: object) -> dict[str, str]:
    """Return the files for the definitions of this checkout."""
    return ci_files(Definitions(CHECKOUT), service, wanted(service, **others))


def golden() -> dict[str, str]:
    """Return the text of each file by its path in the checkout."""
    return {
        f"{GOLDEN}/{service}/{Path(path).name}": text
        for service in SERVICES
        for path, text in files(service).items()
    }
