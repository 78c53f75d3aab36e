"""Everything in this folder needs an NVIDIA GPU."""

import pytest

from tests.gpu.nvidia import Smi, smi


@pytest.fixture(scope="session")
def gpus() -> list[Smi]:
    """The GPUs of this host, by ``nvidia-smi``."""
    found = smi()
    if not found:
        pytest.skip("nvidia-smi shows no GPU on this host")
    return found
