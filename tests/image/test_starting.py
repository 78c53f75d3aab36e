"""An image starts wherever containers are started: other users, networks, zones, schedulers."""

import json
import secrets
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, Runtime

pytestmark = pytest.mark.engine

ENTRYPOINT = CHECKOUT / "images/rootfs/settings/opt/entrypoint.sh"
SECONDS = 900  # for a busy host; each takes a few
INSIDE = Path(__file__).parent / "inside"
ON_KUBERNETES = ("-e", "SPARK_MASTER_PORT=tcp://10.96.0.10:7077")


@dataclass(frozen=True)
class Said:
    """How a container ended, and what it said."""

    code: int
    out: str
    err: str


def started(line: Runtime, options: tuple[str, ...], *command: str) -> Said:
    """Run a container as people do, with the options of `docker run`; no network unless given."""
    name = f"mlr-starting-{secrets.token_hex(4)}"
    try:
        done = subprocess.run(
            ["docker", "run", "--rm", "--name", name, "--network", "none",
             "--volume", f"{INSIDE}:/inside:ro", *options, line.image, *command],
            capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
    except BaseException:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True)
        raise
    return Said(code=done.returncode, out=done.stdout, err=done.stderr)


def session(line: Runtime, options: tuple[str, ...], *more: str) -> tuple[dict[str, object], str]:
    """Return what a Spark session finds, and what was said on the way."""
    said = started(line, options, "python", "/inside/session.py", *more)
    assert said.code == 0, said.err
    return json.loads(said.out.splitlines()[-1]), said.err


def test_the_entry_point_is_plain_posix_shell() -> None:
    for script in (ENTRYPOINT, INSIDE / "roles.sh"):
        done = subprocess.run(["shellcheck", "--shell=sh", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_any_user_an_old_zone_and_a_locale_that_is_not_there(line: Runtime) -> None:
    """OpenShift gives a user id that no file knows, with the group root."""
    options = ("-u", "123456:0", "-e", "TZ=US/Pacific", "-e", "LANG=en_US.UTF-8")
    found, said = session(line, options, "more")
    assert found == {
        "count": 5,
        "first": "2026-01-15 12:00:00",
        "pandas": "2026-01-15 12:00:00",
        "zone": "US/Pacific",
        "user": "uid-123456",
        "spark user": "uid-123456",
        "home": "/home/ml",
        "java's home": "/home/ml",
        "address": "127.0.0.2",
        "charset": "UTF-8",
        "names of files": "UTF-8",
        "arrow": "true",
        "events": True,
        "connect": 5 if line.name == "7.0-ml" else "client",
    }
    assert "C.UTF-8 is used: en_US.UTF-8" in said


def test_a_root_that_cannot_be_written_to(line: Runtime) -> None:
    """Neither the group nor `--init` matters; the one directory need not be /tmp."""
    options = ("-u", "7777:7777", "--init", "--read-only", "--tmpfs", "/scratch:exec,mode=1777")
    found, said = session(line, (*options, "-e", "TMPDIR=/scratch"))
    assert found["count"] == 5
    assert found["home"] == found["java's home"] == "/scratch/home-7777"
    assert "Tini is not running" not in said


def test_temporary_files_of_an_unknown_user_whose_own_place_is_not_there(line: Runtime) -> None:
    """They go to the disk, not into /dev/shm."""
    options = ("-u", "123456:123456", "-e", "TMPDIR=/nope")
    said = started(line, options, "sh", "-c", "echo $TMPDIR $SPARK_LOCAL_DIRS; mktemp -u")
    place, made = said.out.splitlines()
    assert (said.code, place) == (0, "/tmp /tmp"), said.err
    assert made.startswith("/tmp/")


def test_what_cannot_be_right_is_told_at_the_start(line: Runtime) -> None:
    unknown = started(line, ("-e", "TZ=Mars/Olympus"), "true")
    assert (unknown.code, "TZ=Mars/Olympus is not a time zone" in unknown.err) == (2, True)
    # Java takes it for five hours east, C for five hours west.
    assert started(line, ("-e", "TZ=GMT+5"), "true").code == 2
    small = started(line, ("--shm-size", "1m", "--read-only", "-u", "5:5"), "true")
    assert small.code == 0
    assert "/dev/shm has 1 MiB left" in small.err
    nowhere = started(line, (), "driver")
    assert (nowhere.code, "not set: SPARK_DRIVER_BIND_ADDRESS" in nowhere.err) == (2, True)
    alone = started(line, (), "worker")
    assert (alone.code, "of which master?" in alone.err) == (2, True)
    plain = started(line, (), "notebook")
    assert (plain.code, "JupyterLab is not in this image" in plain.err) == (2, True)
    fine = started(line, (), "true")
    assert (fine.code, fine.err) == (0, "")


def test_every_zone_name_means_the_same_to_java_c_and_python(line: Runtime) -> None:
    said = started(line, (), "python", "/inside/zones.py")
    assert said.code == 0, said.err
    found = json.loads(said.out.splitlines()[-1])
    assert found["names"] > 550
    assert {"US/Pacific", "Asia/Calcutta", "GB", "Singapore"} <= set(found["old"])
    assert (found["missing"], found["different"]) == ([], {})
    # The only name of a zone that Java lacks; the entry point knows what it is an old name of.
    assert found["refused"] == ["Factory", "ROC", "localtime", "posixrules"]
    taiwan = started(line, ("-e", "TZ=ROC"), "sh", "-c", "echo $TZ")
    assert taiwan.out == "Asia/Taipei\n"


def test_the_zone_of_the_host_by_its_file(line: Runtime, tmp_path: Path) -> None:
    tokyo = tmp_path / "localtime"
    copied = ["docker", "run", "--rm", "--network", "none", line.image, "cat"]
    tokyo.write_bytes(
        subprocess.run([*copied, "/usr/share/zoneinfo/Asia/Tokyo"], check=True,
                       stdout=subprocess.PIPE).stdout
    )  # fmt: skip
    tmp_path.chmod(0o755)
    said = started(
        line, ("-v", f"{tokyo}:/etc/localtime:ro"), "python", "/inside/zones.py", "local"
    )
    assert json.loads(said.out.splitlines()[-1]) == {"c": 9, "java": 9, "utc": 0}, said.err


def test_every_role_starts_and_answers(line: Runtime) -> None:
    said = started(line, ON_KUBERNETES, "sh", "/inside/roles.sh", line.name)
    connect = ["connect: told"]
    if line.name == "7.0-ml":
        connect = ["connect: healthy", "connect: 10 for another process"]
    assert said.out.splitlines() == [
        "master: healthy",
        "worker: healthy",
        "history: healthy",
        "health: as it is",
        *connect,
        "worker: registered",
        "driver: spark.barrier.sync.timeout 77",
        "driver: spark.sql.execution.arrow.pyspark.enabled false",
        "driver: spark.app.name mine",
        "driver: spark.scheduler.barrier.maxConcurrentTasksCheck.interval 1s",
        "driver: spark.driver.bindAddress 127.0.0.1",
        "driver: -Xss4m True",
        "executor: -XX:MaxHeapSize=314572800",
        "executor: -XX:ThreadStackSize=4096",
        "executor: looked for its driver",
        "decommission: gone",
    ], said.err


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder of wheels: one that works with ours, one that wants newer ones, the newer."""
    folder = tmp_path_factory.mktemp("wheels")
    for name, requires in {
        "fits": ("tensorflow>=2", "keras", "numpy", "pyspark"),
        "wants": ("numpy>=99",),
        "numpy": (), "tensorflow": (), "keras": (), "pyspark": (),
    }.items():  # fmt: skip
        version = "1" if name in ("fits", "wants") else "99"
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py" if name == "fits" else f"{name}_/__init__.py", "")
            wheel.writestr(
                f"{info}/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                + "".join(f"Requires-Dist: {one}\n" for one in requires),
            )
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_pip_leaves_what_is_locked_alone(line: Runtime, wheels: Path) -> None:
    pip = "pip install --quiet --no-index --find-links /wheels"
    said = started(
        line,
        ("-v", f"{wheels}:/wheels:ro"),
        "sh", "-c",
        f"{pip} --upgrade --upgrade-strategy eager fits;"
        "pip install --no-index --find-links /wheels wants >&2; echo $?;"
        f"{pip} --dry-run numpy==99; echo $?;"
        f"PIP_CONSTRAINT=/dev/null {pip} --dry-run --report - wants >/dev/null; echo $?;"
        "pip list | grep -cE '^(numpy|tensorflow|keras|pyspark) +99'; pip check",
    )  # fmt: skip
    broken = "No broken requirements found."
    assert said.out.splitlines() == ["1", "1", "0", "0", broken], said.err
    assert "The user requested (constraint) numpy==" in said.err


def test_pip_installs_for_a_user_who_may_not_write_to_the_environment(
    line: Runtime, wheels: Path
) -> None:
    said = started(
        line,
        ("-u", "123456:0", "-v", f"{wheels}:/wheels:ro"),
        "sh", "-c",
        "pip install --quiet --no-index --find-links /wheels fits;"
        " python -c 'import fits; print(fits.__file__)'",
    )  # fmt: skip
    site = f"/home/ml/.local/lib/python{line.python}/site-packages"
    assert said.out == f"{site}/fits.py\n", said.err
