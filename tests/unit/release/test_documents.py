"""SBOMs and notes: all of the lock, and what was left out or not tested."""

import json
from dataclasses import replace

from mlruntime.release.documents import Candidate
from mlruntime.release.notes import notes
from mlruntime.release.policy import parse_policy
from mlruntime.release.sbom import cyclonedx, packages, spdx
from mlruntime.release.statements import purl
from mlruntime.release.versions import step
from mlruntime.validation.reading import parse_report

from tests.unit.toys import lock_of, report_of


def test_the_sbom_has_all_of_the_lock_and_is_the_same_each_time(toy: Candidate) -> None:
    found = packages(toy.lock, "cpu", {}, {})
    about = ("toy", toy.digest, "0.1.0-ml", toy.lock, found)
    bom = json.loads(cyclonedx(*about))
    assert bom["specVersion"] == "1.6"
    assert [c["purl"] for c in bom["components"]] == ["pkg:maven/g/toy@1"]
    assert cyclonedx(*about) == cyclonedx(*about) and spdx(*about) == spdx(*about)
    assert {p["name"] for p in json.loads(spdx(*about))["packages"]} == {"toy", "g:toy"}


def test_a_jar_with_a_classifier_is_known_by_its_project(toy: Candidate) -> None:
    (jar,) = toy.lock.jars
    shaded = replace(jar, name="g:toy:shaded", filename="toy-1-shaded.jar")
    assert purl(shaded, {}) == "pkg:maven/g/toy@1?classifier=shaded&type=jar"


def test_the_sbom_and_the_notes_say_what_files_of_a_package_are_left_out(toy: Candidate) -> None:
    what = "toy/include/*: headers"
    wheel = replace(toy.lock.jars[0], kind="wheel", name="toy", origin="pypi")
    lock = replace(toy.lock, python=(wheel,))
    found = packages(lock, "cpu", {}, {"toy": what, "g:toy": "is a jar"})
    about = ("image", toy.digest, "0.1.0-ml", lock, found)
    told = {c["name"]: c.get("properties") for c in json.loads(cyclonedx(*about))["components"]}
    assert told == {"toy": [{"name": "mlruntime:left-out", "value": what}], "g:toy": None}
    told = {p["name"]: p.get("comment") for p in json.loads(spdx(*about))["packages"]}
    assert told == {"image": None, "toy": f"left out: {what}", "g:toy": None}
    outcome = parse_report(json.dumps(report_of(toy.digest, lock)), file="r")
    images = [("cpu", "cpu", lock, outcome, toy.digest)]
    text = notes("0.1.0-ml", images, step(lock, lock), lock, left_out={"toy": what})
    assert f"- toy comes without {what}" in text.splitlines()


def test_notes_say_what_is_new_and_what_was_not_tested(toy: Candidate) -> None:
    before = toy.lock
    after = lock_of("3.5.10")
    policy = parse_policy("not-run: [{check: gpu, why: no GPU here}]", file="r")
    outcome = parse_report(
        json.dumps(report_of(toy.digest, after, not_run=("gpu.nccl",))), file="r"
    )
    images = [("cpu", "cpu", after, outcome, toy.digest)]
    text = notes("0.1.1-ml", images, step(before, after), before, policy.not_run)
    for line in (
        "# 0.1.1-ml",
        "- spark 3.5.9 → 3.5.10",
        "| spark | 3.5.10 |",
        "- not tested: `gpu`. no GPU here",
        "- `cpu`: 4 of 5 checks passed on 2 workers; not run: `gpu.nccl`",
    ):
        assert line in text.splitlines(), line
