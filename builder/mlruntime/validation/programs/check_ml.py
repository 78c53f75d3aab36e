"""What the flavour ``ml`` adds: each package computes something that is known beforehand."""

import hashlib
import os
import subprocess
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .cluster import Cluster
from .harness import Proof

_SEED = 41


def _plane() -> tuple[Any, Any, Any]:
    """Return points, what a plane is at them, and the plane: three slopes and a level."""
    import numpy as np

    generator = np.random.default_rng(_SEED)
    x = generator.normal(size=(200, 3))
    plane = np.array([2.0, -1.0, 0.5, 3.0])
    return x, x @ plane[:3] + plane[3] + generator.normal(scale=0.1, size=200), plane


def _step() -> tuple[Any, Any]:
    """Return points, and whether the second number of each is over a half."""
    import numpy as np

    x = np.random.default_rng(_SEED).uniform(size=(400, 4))
    return x, (x[:, 1] > 0.5).astype("float64")


def scikit_learn(cluster: Cluster, proof: Proof) -> None:
    """Ridge regression and principal components are what numpy computes."""
    import numpy as np
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge

    x, y, _ = _plane()
    fitted = Ridge(alpha=2.0).fit(x, y)
    centred, target = x - x.mean(axis=0), y - y.mean()
    want = np.linalg.solve(centred.T @ centred + 2.0 * np.eye(3), centred.T @ target)
    proof.close("ridge", fitted.coef_, want, within=1e-9)
    values = np.linalg.svd(centred, compute_uv=False)
    proof.close("components", PCA().fit(x).singular_values_, values, within=1e-8)


def statistics(cluster: Cluster, proof: Proof) -> None:
    """SciPy's and statsmodels' results are those of the formulas."""
    import numpy as np
    import statsmodels.api as sm
    from scipy import integrate, stats

    x, y, _ = _plane()
    design = np.column_stack([x, np.ones(len(x))])
    fitted = sm.OLS(y, design).fit()
    inverse = np.linalg.inv(design.T @ design)
    beta = inverse @ design.T @ y
    rest = y - design @ beta
    errors = np.sqrt(np.diag(inverse) * (rest @ rest) / (len(y) - 4))
    proof.close("least squares", fitted.params, beta, within=1e-9)
    proof.close("standard errors", fitted.bse, errors, within=1e-9)
    bell, _ = integrate.quad(stats.norm.pdf, -1.0, 1.0)
    proof.close("one sigma", float(bell), 0.6826894921370859, within=1e-9)


def boosting(cluster: Cluster, proof: Proof) -> None:
    """XGBoost and LightGBM find the number that decides, and SHAP's parts add up to the whole."""
    import lightgbm
    import numpy as np
    import shap
    import xgboost

    x, y = _step()
    trees = xgboost.XGBClassifier(n_estimators=10, max_depth=2, n_jobs=1).fit(x, y)
    proof.equal("xgboost", trees.predict(x), y.astype(int))
    proof.equal("xgboost's most important", int(np.argmax(trees.feature_importances_)), 1)
    leaves = lightgbm.LGBMRegressor(n_estimators=60, num_leaves=4, n_jobs=1, verbose=-1).fit(x, y)
    found = np.asarray(leaves.predict(x))
    # It puts neighbours into one bin, so that those at the step itself may be on the wrong side.
    proof.below("lightgbm's wrong", float(((found > 0.5) != y).mean()), 0.02)
    proof.equal("lightgbm's most important", int(np.argmax(leaves.feature_importances_)), 1)
    explained = shap.TreeExplainer(leaves)
    whole = explained.shap_values(x).sum(axis=1) + explained.expected_value
    proof.close("shap", whole, found, within=1e-6)


def mlflow(cluster: Cluster, proof: Proof) -> None:
    """A run that was written into a database file is read back."""
    import mlflow
    from mlflow.tracking import MlflowClient

    with tempfile.TemporaryDirectory() as folder:
        where = f"sqlite:///{folder}/runs.db"
        mlflow.set_tracking_uri(where)
        client = MlflowClient(tracking_uri=where)
        experiment = client.create_experiment("proof", artifact_location=f"file://{folder}/files")
        with mlflow.start_run(experiment_id=experiment) as run:
            mlflow.log_param("rate", 0.25)
            for step, loss in enumerate((4.0, 2.0, 1.0)):
                mlflow.log_metric("loss", loss, step=step)
            mlflow.log_text("something", "note.txt")
        history = client.get_metric_history(run.info.run_id, "loss")
        proof.equal("losses", [m.value for m in sorted(history, key=lambda m: m.step)], [4, 2, 1])
        told = client.get_run(run.info.run_id).data
        proof.equal("parameter", told.params["rate"], "0.25")
        note = Path(client.download_artifacts(run.info.run_id, "note.txt", folder))
        proof.equal("note", note.read_text(encoding="utf-8"), "something")


def tuning(cluster: Cluster, proof: Proof) -> None:
    """Optuna finds the lowest point of a grid."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    grid = {"x": [-1.0, 0.0, 2.0, 5.0], "y": [1.0, 3.0]}
    study = optuna.create_study(sampler=optuna.samplers.GridSampler(grid, seed=_SEED))

    def loss(trial: Any) -> float:
        x, y = trial.suggest_float("x", -1, 5), trial.suggest_float("y", 1, 3)
        return float((x - 2) ** 2 + (y - 3) ** 2)

    study.optimize(loss, n_trials=8)
    proof.equal("best", study.best_params, {"x": 2.0, "y": 3.0})
    proof.equal("trials", len(study.trials), 8)


def plots(cluster: Cluster, proof: Proof) -> None:
    """A plot of matplotlib and seaborn is a picture that Pillow reads, with the colour drawn."""
    import matplotlib

    matplotlib.use("Agg")
    import seaborn
    from matplotlib import pyplot
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plot.png"
        figure = pyplot.figure(figsize=(2, 1), dpi=100, facecolor="#336699")
        seaborn.lineplot(x=[0, 1], y=[0, 1], ax=figure.add_subplot())
        figure.savefig(path)
        pyplot.close(figure)
        with Image.open(path) as picture:
            proof.equal("size", list(picture.size), [200, 100])
            proof.equal("corner", list(picture.convert("RGB").getpixel((0, 0))), [0x33, 0x66, 0x99])


class _Quiet(SimpleHTTPRequestHandler):
    """Serves a directory and says nothing of it."""

    def log_message(self, format: str, *args: Any) -> None: ...


def tools(cluster: Cluster, proof: Proof) -> None:
    """A tree of git has the name that its content gives it; curl and git fetch it over HTTP."""
    text = b"one\n"
    blob = hashlib.sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False).digest()
    entry = b"100644 note.txt\0" + blob
    tree = hashlib.sha1(b"tree %d\0" % len(entry) + entry, usedforsecurity=False).hexdigest()
    who = {"NAME": "proof", "EMAIL": "proof@localhost", "DATE": "2026-01-15T12:00:00+0000"}
    environ = {f"GIT_{role}_{key}": v for role in ("AUTHOR", "COMMITTER") for key, v in who.items()}
    with tempfile.TemporaryDirectory() as folder:
        environ |= {"HOME": folder, "GIT_CONFIG_NOSYSTEM": "1", "no_proxy": "127.0.0.1"}

        def run(*words: str) -> str:
            done = subprocess.run(
                words,
                cwd=folder,
                env=os.environ | environ,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            proof.equal(" ".join(words[:2]), (done.returncode, done.stderr), (0, ""))
            return done.stdout.strip()

        Path(folder, "note.txt").write_bytes(text)
        run("git", "init", "--quiet", "--initial-branch=main")
        run("git", "add", "note.txt")
        run("git", "commit", "--quiet", "--message=a note")
        proof.equal("tree", run("git", "rev-parse", "HEAD^{tree}"), tree)
        run("git", "update-server-info")
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=folder)) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_address[1]}"
            run("git", "clone", "--quiet", f"{address}/.git", "copy")
            proof.equal("curl", run("curl", "-sS", "--fail", f"{address}/note.txt"), "one")
            server.shutdown()
        proof.equal("clone", run("git", "-C", "copy", "rev-parse", "HEAD^{tree}"), tree)


def kernel(cluster: Cluster, proof: Proof) -> None:
    """The kernel that notebooks use runs this image's Python."""
    import sys

    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=60)
    try:
        said: list[str] = []

        def hear(message: Any) -> None:
            if message["msg_type"] == "stream":
                said.append(message["content"]["text"])

        code = "import sys, numpy; print(sys.prefix, int(numpy.arange(7).sum()) * 2)"
        client.execute_interactive(code, timeout=60, output_hook=hear)
        proof.equal("printed", "".join(said).split(), [sys.prefix, "42"])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
