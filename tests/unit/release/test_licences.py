"""What packages say of their licences: in wheels, in debian/copyright, and in the documents."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from mlruntime.ecosystems.debian.licences import of_copyright
from mlruntime.ecosystems.debian.owners import DebianOwners
from mlruntime.ecosystems.pypi.licences import of_wheel
from mlruntime.release.attribution import noted
from mlruntime.release.documents import LICENCES, Candidate, plain_documents
from mlruntime.release.licences import expression, table, told
from mlruntime.release.sbom import cyclonedx, packages, spdx
from mlruntime.workflows.licences import licences_in

OSI = "Classifier: License :: OSI Approved"


@pytest.mark.parametrize(
    ("headers", "licences"),
    [
        ("License-Expression: MIT AND PSF-2.0\nLicense: other", ("MIT AND PSF-2.0",)),
        (f"License: Apache 2.0\n{OSI} :: Apache Software License", ("Apache-2.0",)),
        ("License: bsd-3-clause", ("BSD-3-Clause",)),
        (f"{OSI} :: MIT License\n{OSI} :: ISC License (ISCL)", ("ISC", "MIT")),
        # It does not say which of them.
        (f"{OSI} :: BSD License", ("BSD License",)),
        (f"License: see the file\n{OSI}", ("see the file",)),
        ("License: " + "Copyright of all of us. " * 9, ()),
        ("Summary: no word of it\n\nLicense: MIT", ()),
    ],
)
def test_what_a_wheel_says(headers: str, licences: tuple[str, ...]) -> None:
    assert of_wheel(f"Metadata-Version: 2.4\nName: toy\n{headers}\n") == licences


def copyright_of(*licences: str) -> str:
    head = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
    parts = [f"\nFiles: {n}/*\nCopyright: us\nLicense: {x}\n" for n, x in enumerate(licences)]
    return head + "".join(parts) + "\nLicense: Expat\n Here is the text\n .\n of it.\n"


@pytest.mark.parametrize(
    ("names", "licences"),
    [
        (("GPL-2+\n or newer", "GPL-2+", "LGPL-2.1"), ("GPL-2.0-or-later", "LGPL-2.1-only")),
        (("Expat", "GPL-3+ and ISC"), ("GPL-3.0-or-later", "ISC", "MIT")),
        (("GPL-2 or Expat",), ("GPL-2.0-only OR MIT",)),
        (("GPL-2 and ISC or Expat",), ("(GPL-2.0-only AND ISC) OR MIT",)),
        (("GFDL-NIV-1.3",), ("GFDL-1.3-no-invariants-only",)),
        # SPDX has no word for these.
        (("public-domain", "Apache-2"), ("Apache-2.0", "public-domain")),
        (("GPL-3+ with Bison exception",), ("GPL-3+ with Bison exception",)),
        (("GPL-2 and/or ISC",), ("GPL-2 and/or ISC",)),
    ],
)
def test_what_a_copyright_file_of_debian_says(
    names: tuple[str, ...], licences: tuple[str, ...]
) -> None:
    assert of_copyright(copyright_of(*names)) == licences


def test_a_copyright_file_for_people_says_nothing() -> None:
    text = "This is the GNU C Library, under\n\nLicense: GPL-2\n\nFiles: all\nLicense: MIT\n"
    assert of_copyright(text) == of_copyright("") == ()
    assert told(()) == "NOASSERTION"


def test_licences_of_a_package_hold_all_at_once() -> None:
    assert expression(("MIT", "GPL-2.0-only OR ISC")) == "MIT AND (GPL-2.0-only OR ISC)"
    assert expression(("MIT",)) == "MIT"
    assert expression(("MIT", "public-domain")) is None
    assert told(("MIT", "public-domain")) == "MIT; public-domain"


def test_a_package_without_a_copyright_file_has_that_of_its_source() -> None:
    made = io.BytesIO()
    status = (
        "Package: libtinfo6\nSource: ncurses (6.4-4)\n\nPackage: libncursesw6\nSource: ncurses\n\n"
        "Package: other\n"
    )
    files = {
        "usr/share/doc/libtinfo6/copyright": copyright_of("Expat"),
        "usr/share/doc/people/copyright": "Do what you like.",
        "usr/share/doc/libtinfo6/examples/copyright": copyright_of("GPL-2"),
        "var/lib/dpkg/status": status,
    }
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    made.seek(0)
    owners = DebianOwners()
    with tarfile.open(fileobj=made) as archive:
        assert noted(archive, [owners]) == list(files)
    assert owners.licences == {"deb:libtinfo6": ("MIT",), "deb:libncursesw6": ("MIT",)}


@pytest.mark.parametrize(
    ("licences", "bom", "declared"),
    [
        (("MIT",), [{"license": {"id": "MIT"}}], "MIT"),
        (("MIT", "ISC"), [{"expression": "MIT AND ISC"}], "MIT AND ISC"),
        (
            ("ISC", "public-domain"),
            [{"license": {"id": "ISC"}}, {"license": {"name": "public-domain"}}],
            "NOASSERTION",
        ),
        ((), None, "NOASSERTION"),
    ],
)
def test_both_bills_of_materials_say_the_same(
    toy: Candidate, licences: tuple[str, ...], bom: object, declared: str
) -> None:
    found = packages(toy.lock, "cpu", {"jar:g:toy": licences}, {})
    about = ("toy", toy.digest, "0.1.0-ml", toy.lock, found)
    text = cyclonedx(*about)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    (component,) = json.loads(text)["components"]
    assert component.get("licenses") == bom
    (package,) = [p for p in json.loads(spdx(*about))["packages"] if p["name"] == "g:toy"]
    assert package.get("licenseDeclared", "NOASSERTION") == declared
    names = "; ".join(licences) if declared == "NOASSERTION" else ""
    assert package.get("licenseComments", "") == names


def test_a_release_has_a_table_of_licences(toy: Candidate) -> None:
    made = replace(toy, licences={"jar:g:toy": ("MIT", "a|b")})
    texts = {d.name: d.content.decode() for d in plain_documents(made, "0.1.0-ml", "notes")}
    lines = texts[LICENCES].splitlines()
    assert lines[0] == "# Licences in 0.1.0-ml, cpu"
    assert "| g:toy | 1 | MIT; a\\|b |" in lines and "| a\\|b | 1 |" in lines
    counted = table("x", [("a", "1", ()), ("b", "1", ()), ("c", "1", ("MIT", "ISC"))])
    assert counted.splitlines()[6:9] == ["| NOASSERTION | 2 |", "| ISC | 1 |", "| MIT | 1 |"]


def test_packages_of_an_environment_say_it_too(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.11/site-packages"
    for path, text in {
        site / "Toy_Box-1.0.dist-info/METADATA": "Name: Toy.Box\nLicense-Expression: MIT\n",
        tmp_path / "usr/share/doc/libgfortran5/copyright": copyright_of("GPL-3"),
        tmp_path / "conda-meta/numpy-1-py_0.json": '{"name": "numpy", "license": "BSD-3-Clause"}',
        tmp_path / "conda-meta/history": "no JSON",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert licences_in(tmp_path) == {
        "pypi:toy-box": ("MIT",),
        "deb:libgfortran5": ("GPL-3.0-only",),
        "conda:numpy": ("BSD-3-Clause",),
    }
