"""The whole validation of the real image, as a user runs it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
from mlruntime.engine import Engine
from mlruntime.host.gpus import NoGpus
from mlruntime.host.nvml import read_gpus
from mlruntime.release.signing import private_key
from mlruntime.validation.catalog import CHECKS

from tests.conftest import CHECKOUT, GPU_RUNTIME, RUNTIME, RUNTIMES, Runtime, mlruntime
from tests.same_numbers import compared, differences
from tests.unit.registries import debian_registry
from tests.unit.toys import key_pem

pytestmark = pytest.mark.cluster


@dataclass(frozen=True)
class Validated:
    """A runtime that was validated: what the verb printed and wrote, and what it left behind."""

    line: Runtime
    returncode: int
    printed: str
    junit: Path
    saved: Path
    left: int


def with_proxies(folder: Path) -> Path:
    """Write settings for the docker command: this user's, with proxies that lead nowhere.

    Companies have them there for containers; a cluster's nodes must reach each other all the same.
    """
    mine = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    folder.mkdir()
    (folder / "contexts").symlink_to(mine / "contexts")
    file = mine / "config.json"
    found = json.loads(file.read_text()) if file.is_file() else {}
    nowhere = "http://127.0.0.1:9"
    proxies = {"httpProxy": nowhere, "httpsProxy": nowhere, "noProxy": "*.corp.example"}
    changed = found | {"proxies": {"default": proxies}}
    (folder / "config.json").write_text(json.dumps(changed))
    return folder


@pytest.fixture(scope="module")
def validated(
    ready: Callable[..., Runtime], engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Validated]:
    """Return what validates a runtime as a user does, once for all tests here."""

    @cache
    def run(name: str, variant: str) -> Validated:
        line, folder = ready(name, variant), tmp_path_factory.mktemp("validated")
        before = {thing.id for thing in engine.owned()}
        junit, saved = folder / "junit.xml", folder / "report.json"
        config = with_proxies(folder / "docker")
        done = subprocess.run(
            [sys.executable, "-m", "mlruntime", "--root", str(line.root), "validate", line.name,
             "--variant", variant, "--workers", "2", "--junit", str(junit),
             "--report", str(saved), "--json"],
            stdout=subprocess.PIPE, text=True, env=os.environ | {"DOCKER_CONFIG": str(config)},
        )  # fmt: skip
        left = [thing for thing in engine.owned() if thing.id not in before]
        return Validated(line, done.returncode, done.stdout, junit, saved, len(left))

    return run


# A gpu image has all checks of the cpu image, and more.
@pytest.mark.parametrize(
    ("name", "variant"),
    [
        *((name, "cpu") for name in RUNTIMES),
        pytest.param(GPU_RUNTIME, "gpu", marks=pytest.mark.extra),
    ],
)
def test_every_check_of_the_real_image(
    name: str, variant: str, validated: Callable[[str, str], Validated]
) -> None:
    done = validated(name, variant)
    line = done.line
    report = json.loads(done.printed)
    assert json.loads(done.saved.read_text()) == report
    statuses = {check["name"]: check["status"] for check in report["checks"]}
    errors = {c["name"]: c["error"] for c in report["checks"] if c["status"] == "failed"}
    assert errors == {}
    # Not run is what needs a component that the lock had to leave out, or a GPU where there is
    # none; nothing else.
    omitted = {omission.component for omission in line.lock.omitted}
    lacking = {*omitted, *(["gpu"] if isinstance(read_gpus(), NoGpus) else [])}
    not_run = {check for check, status in statuses.items() if status == "not-run"}
    assert {check.partition(".")[0] for check in not_run} <= lacking
    asked = {*dict(line.lock.components_of(variant)), *omitted}
    core = [check for check in CHECKS if check.flavour == "core"]
    ours = {check.name for check in core if asked.issuperset(check.needs)}
    assert statuses.keys() == {"identity.image", *ours}
    assert done.returncode == (8 if not_run else 0)
    assert report["image"] == line.image
    assert report["manifest"] == line.built["digest"]
    assert report["lock"] == line.lock.digest
    cases = ElementTree.parse(done.junit).getroot().findall(".//testcase")
    assert len(cases) == len(statuses)
    assert done.left == 0


@pytest.mark.extra
@pytest.mark.parametrize("name", RUNTIMES)
def test_an_environment_computes_what_the_image_does(
    name: str, validated: Callable[[str, str], Validated], tmp_path: Path
) -> None:
    """Number by number; what needs a second machine is not run there, and says so."""
    done = validated(name, "cpu")
    root, place, saved = done.line.root, tmp_path / "ml", tmp_path / "report.json"
    mlruntime(root, "env", "create", name, str(place))
    again = subprocess.run(
        [sys.executable, "-m", "mlruntime", "--root", str(root), "validate", "--on", f"{place}/",
         "--report", str(saved)],
        env=os.environ,
    )  # fmt: skip
    assert again.returncode in (0, 8)
    in_image = compared(json.loads(done.saved.read_text()))
    in_environment = compared(json.loads(saved.read_text()))
    assert in_image.keys() - in_environment.keys() <= {"horovod.spark_run"}
    assert len(in_environment) > 30
    both = in_image.keys() & in_environment.keys()
    assert not list(
        differences({n: in_image[n] for n in both}, {n: in_environment[n] for n in both})
    )


@dataclass(frozen=True)
class Keys:
    """A key to sign with and the one to verify with, as files."""

    private: Path
    public: Path


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    made = Keys(tmp_path / "release.key", tmp_path / "release.pub")
    made.private.write_bytes(key_pem())
    key = private_key(made.private.read_bytes(), None, file="release.key")
    made.public.write_text(key.public.pem)
    return made


@pytest.fixture
def proven(validated: Callable[[str, str], Validated]) -> Validated:
    """Return a validated runtime whose definitions say what need not have been run."""
    found = validated(RUNTIME, "cpu")
    shutil.copy(CHECKOUT / "release.yaml", found.line.root)
    return found


def test_a_proven_image_is_released_and_a_stranger_verifies_it(
    proven: Validated, keys: Keys, tmp_path: Path
) -> None:
    root = proven.line.root
    with debian_registry(tmp_path) as address:
        where = ["--registry", f"{address}/ml"]
        done = mlruntime(
            root, "release", RUNTIME, *where, "--report", str(proven.saved),
            "--key", str(keys.private), "--no-rebuild",
        )  # fmt: skip
        (released,) = done["releases"]
        assert released["version"] == "6.0.0-ml" and released["released"]
        assert released["tags"]["6.0.0-ml-cpu"] == proven.line.built["digest"]
        for tag in released["tags"]:
            said = mlruntime(
                root, "verify", f"{address}/ml:{tag}", "--key", str(keys.public),
                "--require", "cluster-tested",
            )  # fmt: skip
            assert {a["status"] for i in said["images"] for a in i["answers"]} == {"passed"}
        plan = mlruntime(root, "release", "plan", RUNTIME, *where)
        assert (plan["size"], plan["version"]) == ("none", "6.0.0-ml")
        shown = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", f"docker://{address}/ml:6.0.0-ml-cpu"],
            check=True, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert json.loads(shown.stdout)["Digest"] == proven.line.built["digest"]


@pytest.mark.extra
def test_a_release_builds_the_image_again_elsewhere(
    proven: Validated, keys: Keys, tmp_path: Path
) -> None:
    with debian_registry(tmp_path) as address:
        done = mlruntime(
            proven.line.root, "release", RUNTIME, "--registry", f"{address}/ml",
            "--report", str(proven.saved), "--dry-run",
        )  # fmt: skip
    assert done["releases"][0]["tags"]["6.0.0-ml-cpu"] == proven.line.built["digest"]
