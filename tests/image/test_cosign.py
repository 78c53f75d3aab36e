"""cosign itself, compiled from its sources, verifies what we sign."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.go_programs import go_program
from tests.unit.registries import Registry, debian_registry
from tests.unit.release.helpers import release
from tests.unit.toys import candidate, new_key

pytestmark = [pytest.mark.extra, pytest.mark.engine]
COSIGN = "github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3"


@pytest.fixture(scope="module")
def cosign() -> str:
    return shutil.which("cosign") or go_program(COSIGN)


def test_cosign_verifies_what_was_released(cosign: str, tmp_path: Path) -> None:
    key, other, made = new_key(), new_key(), candidate(tmp_path / "store")
    (tmp_path / "key.pub").write_text(key.public.pem)
    (tmp_path / "other.pub").write_text(other.public.pem)

    def verify(public: str, tag: str) -> int:
        words = ["verify", "--key", str(tmp_path / public), "--insecure-ignore-tlog",
                 "--allow-http-registry", f"{address}/team/ml:{tag}"]  # fmt: skip
        home = os.environ | {"HOME": str(tmp_path)}
        return subprocess.run([cosign, *words], env=home, check=False).returncode

    with debian_registry(tmp_path) as address:
        release(Registry(address=address), made, key, tmp_path / "scratch")
        assert verify("key.pub", "0.1.0-ml-cpu") == 0
        assert verify("key.pub", "0.1.0-ml") == 0
        assert verify("other.pub", "0.1.0-ml-cpu") != 0
