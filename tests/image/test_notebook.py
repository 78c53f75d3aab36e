"""JupyterLab of an image: who gets in, where the token can be read, and what a notebook can do."""

import re
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT, RUNTIMES, mlruntime

# Building an image with all flavours takes minutes: CI has none of them to spare.
pytestmark = [pytest.mark.engine, pytest.mark.extra]

INSIDE = Path(__file__).parent / "inside"
SECONDS = 600
PASSWORD = "correct horse"


def docker(*words: str, code: int = 0, said: bool = False) -> str:
    """Return what a command of the engine says on stdout, with ``said`` on stderr, too."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + (done.stderr if said else "")


@pytest.fixture(scope="module", params=RUNTIMES)
def image(request: pytest.FixtureRequest) -> str:
    built = mlruntime(CHECKOUT, "build", request.param, "--flavour", "notebook", "--load")
    return str(built["image_id"])


class Lab:
    """A container whose JupyterLab answers."""

    def __init__(self, image: str, *options: str) -> None:
        self.name = f"mlr-notebook-{secrets.token_hex(4)}"
        docker("run", "--detach", "--name", self.name, "--publish", "127.0.0.1::8888",
               "--volume", f"{INSIDE}:/inside:ro", *options, image)  # fmt: skip
        self.address = f"http://{docker('port', self.name, '8888').strip()}"

    def wait(self) -> None:
        for _ in range(SECONDS):
            health = ("exec", self.name, "/opt/entrypoint.sh", "health", "notebook")
            if subprocess.run(["docker", *health], capture_output=True).returncode == 0:
                return
            time.sleep(1)
        raise AssertionError(self.said())

    def said(self) -> str:
        return docker("logs", self.name, said=True)

    def get(self, path: str, **headers: str) -> int:
        request = urllib.request.Request(self.address + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture
def start(image: str) -> Iterator[Any]:
    labs: list[Lab] = []

    def started(*options: str) -> Lab:
        labs.append(Lab(image, *options))
        labs[-1].wait()
        return labs[-1]

    yield started
    for lab in labs:
        docker("rm", "--force", lab.name)


def test_any_user_gets_in_with_the_token_that_no_log_has_and_works(start: Any) -> None:
    lab = start("--user", "123456:0")
    told = docker("exec", lab.name, "/opt/entrypoint.sh", "token")
    found = re.fullmatch(r"http://localhost:8888/lab\?token=([0-9a-f]{48})\n", told)
    assert found, told
    token = found[1]
    assert lab.get("/api/contents") == 403
    assert lab.get("/api/contents", Authorization="token wrong") == 403
    assert lab.get("/api/contents", Authorization=f"token {token}") == 200
    assert lab.get(f"/lab?token={token}") == 200
    work = docker("exec", "--env", "HOME=/tmp", lab.name, "python", "/inside/notebook.py", token)
    assert work.splitlines() == ["7", "200 True", "True 200", "kernel python3"], work
    assert token not in lab.said()
    assert f"docker exec {docker('exec', lab.name, 'hostname').strip()} " in lab.said()
    assert token not in docker("top", lab.name, "-eo", "pid,args")
    assert token not in docker("inspect", lab.name)


def test_a_password_from_a_file_is_in_neither_log_nor_kernel(start: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    lab = start(
        "--volume", f"{tmp_path}:/secret:ro", "--env", "JUPYTER_PASSWORD_FILE=/secret/password"
    )
    assert docker("exec", lab.name, "/opt/entrypoint.sh", "token") == "http://localhost:8888/lab\n"
    assert lab.get("/api/contents") == 403
    login = (
        "import re, sys, urllib.parse, urllib.request as r, http.cookiejar as c\n"
        "o = r.build_opener(r.HTTPCookieProcessor(c.CookieJar()))\n"
        "p = o.open('http://127.0.0.1:8888/login').read().decode()\n"
        'x = re.search(r\'name="_xsrf" value="([^"]+)"\', p)[1]\n'
        "d = urllib.parse.urlencode({'_xsrf': x, 'password': sys.argv[1]}).encode()\n"
        "try:\n"
        "    o.open('http://127.0.0.1:8888/login', d)\n"
        "    print(o.open('http://127.0.0.1:8888/api/contents').status)\n"
        "except r.HTTPError as error:\n"
        "    print(error.code)\n"
    )
    assert docker("exec", lab.name, "python", "-c", login, PASSWORD) == "200\n"
    assert docker("exec", lab.name, "python", "-c", login, "wrong") in ("401\n", "403\n")
    assert PASSWORD not in lab.said()


def test_a_token_from_the_environment_is_not_in_a_kernel_s(start: Any) -> None:
    lab = start("--env", "JUPYTER_TOKEN=a-token-of-mine")
    known = {"Authorization": "token a-token-of-mine", "Content-Type": "application/json"}
    begun = urllib.request.Request(f"{lab.address}/api/kernels", data=b"{}", headers=known)
    with urllib.request.urlopen(begun, timeout=SECONDS) as answer:
        assert answer.status == 201
    environ = docker("exec", lab.name, "sh", "-c",
                     "tr '\\0' '\\n' </proc/$(pgrep -o -f ipykernel_launcher)/environ")  # fmt: skip
    assert "SPARK_HOME=/opt/spark" in environ.splitlines()
    assert "a-token-of-mine" not in environ
    assert "a-token-of-mine" not in lab.said()


def test_a_file_that_cannot_be_read_is_told(image: str) -> None:
    said = docker("run", "--rm", "--network", "none", "--env", "JUPYTER_TOKEN_FILE=/nowhere",
                  image, "notebook", code=2, said=True)  # fmt: skip
    assert "notebook: JUPYTER_TOKEN_FILE=/nowhere cannot be read" in said


def test_what_is_installed_is_what_is_recorded(image: str) -> None:
    """TensorFlow's headers are left out, and pip knows it."""
    listed = (
        "from importlib.metadata import distributions\n"
        "all = [f for d in distributions() for f in d.files or ()]\n"
        "files = [f for f in all if '__pycache__' not in str(f)]\n"
        "print(len(files) > 10000, [str(f) for f in files if not f.locate().exists()])\n"
        "print([str(f) for f in files if str(f).startswith('tensorflow/include/')])\n"
    )
    said = docker("run", "--rm", "--network", "none", image, "sh", "-c",
                  f'pip check && python -c "{listed}"')  # fmt: skip
    kept = "tensorflow/include/third_party/gpus/cuda/cuda_config.h"
    assert said.splitlines() == ["No broken requirements found.", "True []", f"['{kept}']"]
