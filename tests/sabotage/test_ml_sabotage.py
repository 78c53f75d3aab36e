"""The packages of flavour ``ml``, broken in an environment: each fails the check that is for it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT, RUNTIME, mlruntime

# Making an environment and running the checks twice takes a minute or two.
pytestmark = [pytest.mark.engine, pytest.mark.extra]


def gone(path: Path) -> None:
    """Take a file away."""
    path.unlink()


def after(code: str) -> Callable[[Path], None]:
    """Return what adds code at the end of a module."""

    def change(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        path.unlink()  # the store has the same file
        path.write_text(f"{text}\n{code}", encoding="utf-8")

    return change


# By check: one file below site-packages, what happens to it, and what the check says then.
BROKEN: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "ml.scikit_learn": (
        "sklearn/linear_model/_ridge.py",
        after(
            "_fit = Ridge.fit\n"
            "def _wrong(self, *words, **more):\n"
            "    _fit(self, *words, **more)\n"
            "    self.coef_ = self.coef_ * 1.001\n"
            "    return self\n"
            "Ridge.fit = _wrong\n"
        ),
        "ridge: got [",
    ),
    "ml.statistics": (
        "statsmodels/regression/linear_model.py",
        after("RegressionResults.bse = property(lambda self: abs(self.params))\n"),
        "standard errors: got [",
    ),
    "ml.boosting": ("xgboost/lib/libxgboost.so", gone, "XGBoostLibraryNotFound"),
    "ml.mlflow": ("sqlalchemy/sql/__init__.py", gone, "sqlalchemy"),
    "ml.tuning": (
        "optuna/study/study.py",
        after("Study.best_params = property(lambda self: self.trials[0].params)\n"),
        "best: got {",
    ),
    "ml.plots": ("PIL/_imaging.cpython-*.so", gone, "_imaging"),
    "ml.kernel": ("ipykernel_launcher.py", gone, "Kernel died"),
}


def validated(environment: Path, *words: str) -> dict[str, dict[str, Any]]:
    """Return how each check ended that could be run."""
    command = [sys.executable, "-m", "mlruntime", "--root", str(CHECKOUT), "validate"]
    done = subprocess.run(
        [*command, "--on", f"{environment}/", *words, "--json"],
        env=os.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    checks = json.loads(done.stdout)["checks"]
    return {check["name"]: check for check in checks if check["status"] != "not-run"}


def test_each_package_that_is_broken_fails_its_check(tmp_path: Path) -> None:
    """Of the runtime that hosts with an older C library can have, too."""
    place = tmp_path / "ml"
    mlruntime(CHECKOUT, "env", "create", RUNTIME, str(place), "--flavour", "ml")
    (site,) = place.glob("lib/python*/site-packages")
    for pattern, breaks, _ in BROKEN.values():
        (path,) = site.glob(pattern)
        breaks(path)
    checks = validated(place, "--only", "ml", "--only", "identity.image")
    assert {n for n, c in checks.items() if c["status"] == "failed"} == {
        "identity.image",
        *BROKEN,
    }
    for name, (_, _, said) in BROKEN.items():
        assert said in checks[name]["error"], name
    repaired = mlruntime(CHECKOUT, "env", "repair", str(place))
    assert len(repaired["repaired"]) == len(BROKEN)
    checks = validated(place, "--only", "ml")
    assert {c["status"] for n, c in checks.items() if n in BROKEN} == {"passed"}
