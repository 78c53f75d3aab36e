"""The files of ``cluster render`` for one description, as they are kept in tests/golden/cluster.

``python -m tests.documents`` writes them anew.
"""

from pathlib import Path

from mlruntime.cluster.form import parse_cluster, with_flags
from mlruntime.cluster.gpus import Gpus
from mlruntime.cluster.rendering import PLACES, Rendered, RenderRequest, left_out, render
from mlruntime.definitions.files import Definitions
from mlruntime.workflows.cluster.describing import cluster_templates, spec_of

CHECKOUT = Path(__file__).parents[1]
GOLDEN = "tests/golden/cluster"
IMAGE = "registry.example.org/ml/6.0-ml@sha256:" + "87e610db" * 8
SECRET = "0123456789abcdef" * 4


def files(place: str, *, gpus: int = 0, **flags: object) -> dict[str, Rendered]:
    """Return the files for docs/examples/cluster.yaml in a place."""
    text = (CHECKOUT / "docs/examples/cluster.yaml").read_text(encoding="utf-8")
    form = with_flags(text, "cluster.yaml", {"gpus": gpus, **flags})
    assert parse_cluster(text, file="cluster.yaml").runtime == "6.0-ml"
    spec, _ = left_out(place, spec_of(form, IMAGE, Gpus(each=gpus)))
    driver = "525.60.13" if gpus else None
    wanted = RenderRequest(name="team-a", spec=spec, secret=SECRET, spark="3.5.9", driver=driver)
    return render(place, wanted, cluster_templates(Definitions(CHECKOUT)))


def golden() -> dict[str, str]:
    """Return the text of each file by its path in the checkout."""
    return {
        f"{GOLDEN}/{place}{'-gpu' if gpus else ''}/{name}": file.text
        for place in PLACES
        for gpus in ((0, 1) if place != "kubernetes" else (0,))
        for name, file in files(place, gpus=gpus).items()
    }
