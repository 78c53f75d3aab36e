"""This repository's own release.yaml: its images can be released from containers without a GPU."""

from datetime import date

import pytest
from mlruntime.definitions.files import Definitions
from mlruntime.release.policy import parse_policy
from mlruntime.validation.catalog import CHECKS
from mlruntime.validation.s3 import UNREACHABLE
from mlruntime.validation.session import Subject, plan_of
from mlruntime.workflows.locked import read_lock

from tests.conftest import CHECKOUT, RUNTIMES

TODAY = date(2026, 11, 28)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_containers_cannot_run_is_allowed(runtime: str) -> None:
    text = (CHECKOUT / "release.yaml").read_text(encoding="utf-8")
    policy = parse_policy(text, file="release.yaml")
    whole = read_lock(Definitions(CHECKOUT), runtime)
    refused = {
        (flavour, variant.name, check)
        for flavour in whole.flavour_names
        for variant in whole.variants
        for check in plan_of(
            Subject(
                image="i",
                lock=whole.cut(flavour),
                variant=variant.name,
                why_no_s3=UNREACHABLE,
            ),
            CHECKS,
            (),
        ).absent
        if policy.allows(check, TODAY) is None
    }
    assert refused == set()
