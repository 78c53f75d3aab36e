"""Tests on a host with an NVIDIA GPU; without one each is skipped. `./dev test tests/gpu`.

They need the driver, no container engine and no registry. What NVIDIA's own tools say is the right
value. `python -m tests.gpu.record FILE` keeps a host's answers, for tests without a GPU.
"""
