"""What an image asks of a GPU host: its forms, and every way to be malformed."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.errors import InvalidDefinition, InvalidLock
from mlruntime.image.config import LABEL
from mlruntime.lock.contract import (
    PREFIX,
    HostContract,
    capability,
    contract_of_labels,
    parse_contract,
)

CONTRACT = HostContract(
    minimum_driver="525.60.13",
    cuda="12.5",
    architectures=("6.0", "7.0", "8.0", "9.0"),
    ptx=("9.0",),
    memory_mib=4096,
)

versions = st.from_regex(r"[1-9][0-9]{0,2}(\.[0-9]{1,3}){1,2}", fullmatch=True)
capabilities = st.sets(st.from_regex(r"[1-9][0-9]?\.[0-9]", fullmatch=True), max_size=6).map(
    lambda found: tuple(sorted(found, key=capability))
)
contracts = st.builds(
    HostContract,
    minimum_driver=versions,
    cuda=versions,
    architectures=capabilities.filter(bool),
    ptx=capabilities,
    memory_mib=st.integers(0, 1 << 20),
)


@given(contracts)
def test_a_contract_comes_back_from_its_file_and_from_its_labels(contract: HostContract) -> None:
    assert parse_contract(contract.to_json(), file="c") == contract
    labels = dict(contract.labels())
    assert contract_of_labels({**labels, "other": "x"}, file="image") == contract
    assert list(contract.labels()) == sorted(labels.items())


def test_the_labels_are_of_our_namespace() -> None:
    assert PREFIX.startswith(f"{LABEL}.")
    assert dict(CONTRACT.labels())["io.mlruntime.host.minimum-driver"] == "525.60.13"


def test_ten_comes_after_nine() -> None:
    assert capability("10.0") > capability("9.0")


def test_an_image_without_these_labels_needs_no_gpu() -> None:
    assert contract_of_labels({f"{LABEL}.runtime": "6.0-ml"}, file="image") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"driver": "525"}, "unknown key 'driver'\n  try: did you mean"),
        ({"cuda": None}, "c: cuda: expected text, found nothing"),
        ({"cuda": "new"}, "c: cuda: 'new' is not a version"),
        ({"minimum_driver": "R525"}, "c: minimum_driver: 'R525' is not a version"),
        ({"memory_mib": "4096"}, "c: memory_mib: expected a whole number, found text"),
        ({"memory_mib": -1}, "c: memory_mib: expected at least 0, found -1"),
        ({"architectures": ["80"]}, "c: architectures[0]: '80' is not a compute capability"),
        ({"ptx": ["9.0a"]}, "c: ptx[0]: '9.0a' is not a compute capability"),
        ({"architectures": ["10.0", "9.0"]}, "c: architectures: compute capabilities must be"),
        ({"architectures": ["8.0", "8.0"]}, "ascending, each of them once"),
        ({"architectures": [], "ptx": []}, "c: neither architectures nor ptx"),
    ],
)
def test_malformed(changes: dict[str, Any], said: str) -> None:
    text = json.dumps({**CONTRACT.to_dict(), **changes})
    with pytest.raises(InvalidDefinition) as caught:
        parse_contract(text, file="c")
    assert said in str(caught.value)
    with pytest.raises(InvalidLock):
        parse_contract(text, file="c", error=InvalidLock)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("cuda", None, "image: labels io.mlruntime.host: missing key 'cuda'"),
        ("memory-mib", "much", "memory_mib: expected a whole number, found text"),
        ("ptx", "9.0,10.0", "ptx[0]: '9.0,10.0' is not a compute capability"),
    ],
)
def test_labels_that_are_incomplete_or_malformed(name: str, value: str | None, said: str) -> None:
    labels = dict(CONTRACT.labels())
    labels.pop(f"{PREFIX}.{name}")
    if value is not None:
        labels[f"{PREFIX}.{name}"] = value
    with pytest.raises(InvalidDefinition) as caught:
        contract_of_labels(labels, file="image")
    assert said in str(caught.value)


def test_ptx_alone_is_enough() -> None:
    contract = replace(CONTRACT, architectures=())
    assert contract_of_labels(dict(contract.labels()), file="image") == contract
