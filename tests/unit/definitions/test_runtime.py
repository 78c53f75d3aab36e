from typing import Any

import pytest
import yaml
from mlruntime.definitions.runtime import RuntimeDefinition, parse_runtime
from mlruntime.errors import InvalidDefinition, UsageError
from packaging.specifiers import SpecifierSet

GOOD: dict[str, Any] = {
    "runtime": "6.0-ml",
    "summary": "one line",
    "snapshot": "2026-11-20T00:00:00Z",
    "variants": ["cpu"],
    "request": {"spark": "==3.5.*", "java": "17", "numpy": "*"},
    "python": ["pip", "setuptools<81"],
    "debian": ["tini", "libstdc++6"],
}


def read(**changes: Any) -> RuntimeDefinition:
    return parse_runtime(yaml.safe_dump({**GOOD, **changes}), file="runtime.yaml")


def test_a_runtime_is_read_into_real_types() -> None:
    found = read()
    assert found.request == (
        ("java", SpecifierSet("==17")),
        ("numpy", SpecifierSet()),
        ("spark", SpecifierSet("==3.5.*")),
    )
    assert [str(r) for r in found.python] == ["pip", "setuptools<81"]
    assert (found.snapshot, found.variants) == ("2026-11-20T00:00:00Z", ("cpu",))


PROMISE = {"architectures": ["8.0"], "ptx": ["8.0"], "cuda": "12.5", "memory_mib": 8192}


def test_what_is_promised_of_gpus_lacks_but_the_driver() -> None:
    found = read(variants=["cpu", "gpu"], gpu=PROMISE).gpu
    assert found is not None
    assert found.contract("525.60.13").to_dict() == {"minimum_driver": "525.60.13", **PROMISE}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"requests": {}}, r"requests: unknown key 'requests'\n.*did you mean 'request'\?"),
        ({"request": {}}, r"request: expected at least one, found none"),
        ({"request": {"spark": "~~3"}}, r"request.spark: '~~3' is not a version specifier"),
        ({"request": {"java": 17}}, r"request.java: expected text, found a whole number"),
        ({"runtime": "6/0"}, r"runtime: '6/0' is not a runtime id"),
        ({"snapshot": "2026-11-20"}, r"snapshot: '2026-11-20' is not a UTC timestamp"),
        ({"snapshot": "2026-11-20T00:00:00+02:00"}, r"snapshot: .* is not a UTC timestamp"),
        ({"snapshot": "soon"}, r"snapshot: 'soon' is not a UTC timestamp"),
        ({"variants": ["cpu", "tpu"]}, r"variants\[1\]: unknown value 'tpu'\n.*'gpu'"),
        ({"variants": ["cpu", "cpu"]}, r"variants\[1\]: 'cpu' is listed twice"),
        ({"variants": []}, r"variants: expected at least one, found none"),
        ({"python": ["a b c"]}, r"python\[0\]: 'a b c' is not a Python requirement"),
        ({"python": ["x @ https://example.org/x.whl"]}, r"python\[0\]: .*not from a URL"),
        ({"python": ["Scipy", "scipy>1"]}, r"python\[1\]: scipy is listed twice"),
        ({"debian": ["tini; rm -rf /"]}, r"debian\[0\]: .* is not the name of a Debian package"),
        ({"debian": ["tini", "tini"]}, r"debian\[1\]: 'tini' is listed twice"),
        ({"variants": ["cpu", "gpu"]}, r"variants: .* says what it promises of GPUs"),
        ({"gpu": PROMISE}, r"gpu: this runtime has no gpu variant"),
        (
            {"variants": ["gpu"], "gpu": PROMISE | {"minimum_driver": "525.60.13"}},
            r"gpu.minimum_driver: unknown key",
        ),
        (
            {"variants": ["gpu"], "gpu": PROMISE | {"ptx": ["9"]}},
            r"gpu.ptx\[0\]: '9' is not a compute capability",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_its_place(changes: Any, message: str) -> None:
    with pytest.raises(InvalidDefinition) as failure:
        read(**changes)
    assert failure.match("^runtime.yaml: ")
    assert failure.match(message)


def test_settings_replace_and_add_lines() -> None:
    found = dict(read().with_settings(["spark==4.1.*", "Horovod 0.28.1", "pandas"]).request)
    assert found["spark"] == SpecifierSet("==4.1.*")
    assert found["horovod"] == SpecifierSet("==0.28.1")
    assert found["pandas"] == SpecifierSet()
    assert found["java"] == SpecifierSet("==17")


@pytest.mark.parametrize("name", ["tf_keras", "TF.Keras", "tf-keras", "tf__keras"])
def test_a_setting_has_a_name_as_pep_503_normalises_it(name: str) -> None:
    found = dict(read().with_settings([f"{name}==2.15.*"]).request)
    assert found["tf-keras"] == SpecifierSet("==2.15.*")
    with pytest.raises(UsageError, match=r"^--set: tf-keras is set twice"):
        read().with_settings([f"{name}==2.15.*", "tf-keras==2.16.*"])


@pytest.mark.parametrize("setting", ["==1.0", "", "spark==", "spark=3.5", "spark==3.5 ;x"])
def test_a_malformed_setting_is_a_usage_error(setting: str) -> None:
    with pytest.raises(UsageError, match=r"^--set: "):
        read().with_settings([setting])
