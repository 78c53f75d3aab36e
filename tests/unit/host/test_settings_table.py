"""Each name in the table of docs/host-settings.md, set alone on a host: what it changes, for whom.

What is looked at is what downloads go by, and what uv and apt are told; both must be the same.
"""

import os
import re
from pathlib import Path

import pytest
from mlruntime.host import settings
from mlruntime.host.command import run
from mlruntime.host.settings import discover, table
from mlruntime.host.settings.table import ROWS

from tests.documents import CHECKOUT, text_of
from tests.unit.host.cases import CASES, ELSEWHERE
from tests.unit.host.looks import ADDRESSES, PARTS, SOURCES, Case, Host

pytestmark = pytest.mark.starts  # apt-config


def host(root: Path, case: Case, *, bare: bool) -> Host:
    """Make a host; a bare one is without what the case is about."""
    files = {"ca.pem": "-----BEGIN CERTIFICATE-----\n", "me.pem": "x\n"}
    files |= {"authorities/one.pem": "-----BEGIN CERTIFICATE-----\n"}
    files |= {"h.sources": SOURCES.format(ADDRESSES["Debian"])}
    environ = dict(case.beside)
    if not bare:
        files, environ = files | case.files, environ | case.environ
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text.replace("{root}", str(root)))
    config = root / "apt-config"
    config.write_text(f'Dir::Etc "{root}/etc/apt";\n')
    sources = discover(
        {name: text.replace("{root}", str(root)) for name, text in environ.items()},
        home=root / "home",
        etc=root / "etc",
        ca_bundle=root / case.bundle if case.bundle and not bare else None,
        apt_config=lambda: run(
            ["apt-config", "dump"], env={"PATH": os.environ["PATH"], "APT_CONFIG": str(config)}
        ),
    )
    return Host(sources, root)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.row} {case.name}")
def test_each_name_of_a_row_counts_for_its_parts(case: Case, tmp_path: Path) -> None:
    (row,) = (row for row in ROWS if first(row.setting) == case.row)
    bare, one = (host(tmp_path / str(b), case, bare=b) for b in (True, False))
    for part in PARTS:
        before, after = case.look(bare, part), case.look(one, part)
        assert before != case.value
        assert after == (case.value if part in row.parts else before), part


def first(setting: str) -> str:
    return setting.split("`")[1]


def test_each_name_of_the_table_has_a_test() -> None:
    names = {
        (first(row.setting), name)
        for row in ROWS
        for name in re.findall("`([^`]+)`", row.setting + row.does)
    }
    tested = {(case.row, case.name) for case in CASES}
    assert names == tested | set(ELSEWHERE)
    texts = [text_of(path) for path in (CHECKOUT / "tests/unit").rglob("test_*.py")]
    there = {name for text in texts for name in re.findall(r"^def (test_\w+)\(", text, re.M)}
    assert set(ELSEWHERE.values()) | {row.test for row in ROWS} <= there


def test_each_variable_that_is_read_is_in_the_docs() -> None:
    documented = text_of(CHECKOUT / "docs/host-settings.md") + text_of(CHECKOUT / "docs/conda.md")
    folder = Path(table.__file__).parent
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))]
    read = {name for text in texts for name in re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', text)}
    # Names in os-release, and of this package.
    read -= {"VERSION_CODENAME", *settings.__all__}
    assert {"NO_PROXY", "UV_NO_CONFIG"} <= read
    assert {name for name in read if name not in documented} == set()
