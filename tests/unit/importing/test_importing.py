"""``mlruntime import``: files of other tools become a first runtime.yaml, which resolves."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.cli import main
from mlruntime.definitions.files import Definitions
from mlruntime.environment.exporting import exported, pylock, requirements
from mlruntime.errors import InvalidDefinition, MlruntimeError, UsageError
from mlruntime.importing.composing import compose, text_of
from mlruntime.importing.reading import read_foreign
from mlruntime.importing.specs import read_spec
from mlruntime.lock.conda_lock import LockedPackage, write_conda_lock
from mlruntime.lock.packages import Artifact
from mlruntime.workflows.importing import ImportedRuntime, import_file
from mlruntime.workflows.inputs import read_matrix, read_runtime
from packaging.specifiers import SpecifierSet

from tests.conftest import CHECKOUT, copied, read_lock

SOURCE = Definitions(CHECKOUT)
REQUIREMENTS = """\
# a comment
tensorflow==2.15.1 \\
    --hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
pyspark[sql]==3.5.3
horovod==0.28.1
numpy<2
Polars>=1,<2
polars[excel]!=1.5
-e ./lib
-r more.txt
--index-url https://me:secret@example.org/simple
https://example.org/y.whl
./here.whl
pywin32; sys_platform == "win32"
tomli; python_version >= "3.11"
odd; nothing == "1"
nvidia-cudnn-cu12==8.9.7.29
garbage !!
"""
ENVIRONMENT = """\
name: My Team
channels: [conda-forge, defaults, "https://me:secret@conda.example.org/x", nodefaults]
dependencies:
  - python=3.11.7
  - numpy=1.26.4=py311_0
  - pandas>=2,<3
  - openblas 0.3.*
  - conda-forge::zlib
  - cudatoolkit=11.8
  - cudnn
  - pyarrow 15.*|16.*
  - "!!"
  - {pip: ["tensorflow==2.15.1", "pyspark==3.5.3", "polars", "-e .", "a\\nb"], apt: [vim]}
variables: {A: b}
prefix: /home/me
"""


def imported(folder: Path, called: str, text: str, **options: str) -> ImportedRuntime:
    file = folder / called
    file.write_text(text, encoding="utf-8")
    return import_file(SOURCE, file, **options)


def request(made: ImportedRuntime) -> dict[str, str]:
    return {name: str(spec) for name, spec in made.composed.definition.request}


def left(made: ImportedRuntime) -> str:
    return "\n".join(one.text for one in made.composed.not_taken)


def test_a_requirements_file(tmp_path: Path) -> None:
    made = imported(tmp_path, "requirements.txt", REQUIREMENTS)
    assert (made.composed.like, made.fits) == ("6.0-ml", True)
    asked = request(made)
    assert (asked["tensorflow"], asked["spark"]) == ("==2.15.1", "==3.5.3")
    assert (asked["horovod"], asked["numpy"]) == ("==0.28.1", "<2")
    assert (asked["debian"], asked["python"], asked["java"]) == ("==12", "==3.11.*", "==17.*")
    python = {one.name: one for one in made.composed.definition.python}
    assert python["polars"].specifier == SpecifierSet(">=1,<2,!=1.5")
    assert python["polars"].extras == {"excel"}
    assert {"tomli", "pip", "setuptools"} <= set(python)
    assert not set(python) & {"pywin32", "odd", "nvidia-cudnn-cu12", "lib", "y", "here"}
    told = left(made)
    for line, what in (
        (9, "-e ./lib is an editable install"),
        (10, "the option -r is not supported here"),
        (11, "the option --index-url is not supported here"),
        (12, "https://example.org/y.whl is a URL"),
        (13, "./here.whl is a file or directory"),
        (18, "'garbage !!' is no requirement"),
        (4, "pyspark[sql]"),
        (14, 'pywin32 (`sys_platform == "win32"` is false on Linux with Python 3.11)'),
        (16, "'odd; nothing == \"1\"' is no requirement"),
        (17, "nvidia-cudnn-cu12 (it is for GPUs)"),
    ):
        assert f"requirements.txt:{line}: {what}" in told
    assert "the hashes of its packages" in told
    assert "secret" not in told + made.text
    assert len(made.composed.not_taken) == 11


def test_an_environment_yml(tmp_path: Path) -> None:
    made = imported(tmp_path, "environment.yml", ENVIRONMENT)
    definition = made.composed.definition
    assert (definition.runtime, made.composed.like, made.fits) == ("my-team", "6.0-ml", True)
    assert definition.conda.channels == ("conda-forge", "main")
    assert definition.conda.components == ("python", "numpy", "pyarrow")
    assert definition.conda.packages == ("openblas 0.3.*", "zlib")
    asked = request(made)
    assert (asked["python"], asked["numpy"], asked["pandas"]) == ("==3.11.*", "==1.26.4", "<3,>=2")
    assert (asked["tensorflow"], asked["spark"], asked["pyarrow"]) == ("==2.15.1", "==3.5.3", "")
    assert "polars" in {one.name for one in definition.python}
    told = left(made)
    for where, what in (
        ("dependencies[0]", "python ==3.11.7.* (a runtime names a line of python: ==3.11.*)"),
        ("dependencies[2]", "pandas from a channel"),
        ("dependencies[4]", "zlib from the channel conda-forge"),
        ("dependencies[5]", "cudatoolkit (it is for GPUs)"),
        ("dependencies[6]", "cudnn (it is for GPUs)"),
        ("dependencies[7]", "the versions of 'pyarrow 15.*|16.*'"),
        ("dependencies[8]", "'!!' (it is no match specification)"),
        ("dependencies[9].pip[3]:1", "-e . is an editable install"),
        ("dependencies[9].pip[4]", "'a\\nb' (it has several lines)"),
        ("dependencies[9]", "the packages of 'apt'"),
        ("channels[2]", "the channel https://conda.example.org/x"),
        ("channels[3]", "nodefaults"),
        ("variables", "the key 'variables'"),
        ("prefix", "the key 'prefix'"),
    ):
        assert f"environment.yml: {where}: {what}" in told
    assert "secret" not in told + made.text
    assert len(made.composed.not_taken) == 14


@pytest.mark.parametrize("runtime", ["6.0-ml", "7.0-ml"])
@pytest.mark.parametrize("format_", ["requirements", "pylock"])
def test_what_is_exported_comes_back_with_its_versions(
    tmp_path: Path, runtime: str, format_: str
) -> None:
    lock = read_lock(CHECKOUT, runtime)
    compiled = [
        Artifact(
            kind="wheel",
            name=wheel.name,
            version=wheel.version,
            filename=f"{wheel.name}-{wheel.version}-py3-none-any.whl",
            size=1,
            sha256="0" * 64,
            origin="pypi",
        )
        for wheel in lock.variant("cpu").native
    ]
    minor = ".".join(lock.component("python").split(".")[:2])
    what = exported(lock, "cpu", python=minor, compiled=compiled)
    text, name = requirements(what), "requirements.txt"
    if format_ == "pylock":
        text, name = pylock(what, "wheels"), "pylock.toml"
    made = imported(tmp_path, name, text)
    assert (made.composed.like, made.fits) == (runtime, True)
    asked = request(made)
    for component in ("tensorflow", "keras", "spark", "horovod", "numpy", "pandas", "pyarrow"):
        assert asked[component] == f"=={lock.component(component)}"
    assert asked["python"] == f"=={minor}.*"
    # Every other package, too, as it was pinned.
    python = {one.name: str(one.specifier) for one in made.composed.definition.python}
    pinned = {wheel.name: f"=={wheel.version}" for wheel in what.wheels}
    assert {name: spec for name, spec in python.items() if name in pinned} == {
        name: spec for name, spec in pinned.items() if name in python
    }
    components = {"tensorflow-cpu", "pyspark", "graphframes-py", *asked}
    assert set(pinned) - set(python) <= components


def test_a_conda_lock_of_its_own_library_s_form(tmp_path: Path) -> None:
    def one(manager: str, name: str, version: str, *needs: str, on: str = "linux-64") -> object:
        return LockedPackage(
            manager=manager,  # type: ignore[arg-type]
            name=name,
            version=version,
            url="u",
            sha256="a" * 64,
            md5="b" * 32,
            dependencies=tuple((need, "") for need in needs),
            platform=on,
        )

    packages = [
        one("conda", "python", "3.11.9", "openssl"),
        one("conda", "openssl", "1.1.1w"),
        one("conda", "numpy", "1.26.4", "python"),
        one("conda", "gdal", "3.8.1", "python"),
        one("conda", "vc", "14", on="win-64"),
        one("pip", "tensorflow", "2.15.1", "numpy"),
        one("pip", "odd name", "1"),
    ]
    made = imported(tmp_path, "conda-lock.yml", write_conda_lock(packages, ["conda-forge/"]))
    definition = made.composed.definition
    assert made.fits
    assert definition.conda.channels == ("conda-forge",)
    assert definition.conda.components == ("python", "numpy")
    assert definition.conda.packages == ("gdal ==3.8.1",)
    asked = request(made)
    assert (asked["python"], asked["numpy"]) == ("==3.11.*", "==1.26.4")
    assert asked["tensorflow"] == "==2.15.1"
    told = left(made)
    assert "conda-lock.yml: 1 packages that others need" in told
    assert "'odd name==1' is no requirement" in told
    with pytest.raises(InvalidDefinition, match="no packages for linux-64") as caught:
        imported(tmp_path, "conda-lock.yml", write_conda_lock([packages[4]], ["x"]))
    assert caught.value.why == "it has: win-64"


PYLOCK = """\
lock-version = "1.0"
created-by = "x"
requires-python = ">=3.9,<3.12"
[[packages]]
name = "tensorflow"
version = "2.15.1"
wheels = [{name = "tensorflow-2.15.1-py3-none-any.whl", url = "u", hashes = {sha256 = "0"}}]
dependencies = [{name = "absl-py"}]
[[packages]]
name = "absl-py"
version = "2.1"
wheels = [{name = "absl_py-2.1-py3-none-any.whl", url = "u", hashes = {sha256 = "0"}}]
[[packages]]
name = "ours"
vcs = {type = "git", url = "u", commit-id = "c"}
[[packages]]
name = "colorama"
version = "1"
marker = "sys_platform == 'win32'"
wheels = [{name = "colorama-1-py3-none-any.whl", url = "u", hashes = {sha256 = "0"}}]
"""


def test_a_pylock_that_says_what_needs_what(tmp_path: Path) -> None:
    made = imported(tmp_path, "pylock.ml.toml", PYLOCK)
    assert (made.composed.like, made.fits) == ("6.0-ml", True)
    assert request(made)["tensorflow"] == "==2.15.1"
    assert request(made)["python"] == "==3.11.*"
    assert not {"absl-py", "ours", "colorama"} & {
        one.name for one in made.composed.definition.python
    }
    told = left(made)
    assert "packages[2]: ours from a version control system" in told
    assert "1 packages that others need" in told
    assert "packages[3]: colorama" in told


def test_what_fits_resolves_where_it_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copied(tmp_path / "ours")
    file = tmp_path / "requirements.txt"
    file.write_text("tensorflow==2.15.1\npyspark>=3.5,<4\npolars\n")
    target = root / "runtimes" / "team-1.0" / "runtime.yaml"
    words = ["--root", str(root), "import", str(file), "--output", str(target)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert f"next: mlruntime --root {root} resolve team-1.0" in said.out
    assert main(["--root", str(root), "resolve", "team-1.0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    versions = {one["component"]: one["version"] for one in found["components"]}
    assert versions["tensorflow"] == "2.15.1"
    assert main(words) == 2
    assert "this exists already" in capsys.readouterr().err
    assert main(["--root", str(root), "--quiet", "import", str(file), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["runtime"] == "requirements"
    assert printed["text"].replace("runtime: requirements\n", "runtime: team-1.0\n") == (
        target.read_text()
    )
    assert (printed["fits"], printed["not_taken"], printed["like"]) == (True, [], "6.0-ml")


@pytest.mark.parametrize(
    ("text", "explained"),
    [
        ("tensorflow==2.21.0\nkeras==2.15.0\n", "keras"),
        ("numpy==1.26.3\n", "numpy"),
        ("tensorflow==99\n", "tensorflow"),
    ],
)
def test_what_does_not_fit_is_explained_by_resolve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, explained: str
) -> None:
    root = copied(tmp_path / "ours")
    file = tmp_path / "requirements.txt"
    file.write_text(text)
    target = root / "runtimes" / "x" / "runtime.yaml"
    assert main(["--root", str(root), "import", str(file), "-o", str(target)]) == 0
    assert "the matrix has no versions for all of this together" in capsys.readouterr().err
    assert main(["--root", str(root), "resolve", "x"]) == 3
    assert explained in capsys.readouterr().err


def test_the_system_may_be_chosen(tmp_path: Path) -> None:
    made = imported(tmp_path, "r.txt", "polars\n")
    assert (made.composed.like, made.fits) == ("7.0-ml", True)
    assert "spark" in request(made)
    made = imported(tmp_path, "r.txt", "polars\n", like="6.0-ml", name="x-1")
    assert (made.composed.like, made.composed.definition.runtime) == ("6.0-ml", "x-1")
    with pytest.raises(UsageError, match="there is no runtime"):
        imported(tmp_path, "r.txt", "polars\n", like="6.0")
    with pytest.raises(UsageError, match="is no runtime id"):
        imported(tmp_path, "r.txt", "polars\n", name="../x")


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("setup.py", "x", "does not say what it is"),
        ("r.txt", "", "nothing of this file can be taken over"),
        ("r.txt", "-e .\n", "is an editable install"),
        ("x.toml", "a = [", "not valid TOML"),
        ("pyproject.toml", "[project]\nname = 'x'\n", "no lock-version"),
        ("pylock.toml", 'lock-version = "1.0"\n', "no valid pylock.toml"),
        ("pylock.toml", f"a = {'[' * 100_000}", "not valid TOML"),
        ("x.yml", "a: 1", "neither an environment.yml nor"),
        ("x.yml", "- 1", "neither an environment.yml nor"),
        ("x.yml", "dependencies: 1", "expected a list"),
        ("x.yml", "dependencies: [1]", "expected text"),
        ("x.yml", "dependencies: [{pip: x}]", "expected a list"),
        ("x.yml", "dependencies: [a]\nchannels: {}", "expected a list"),
        ("x.yml", "package: 1", "version"),
        ("x.yml", "a: [", "not valid YAML"),
    ],
)
def test_what_is_no_such_file_is_told_with_its_place(
    tmp_path: Path, name: str, text: str, what: str
) -> None:
    with pytest.raises(MlruntimeError) as caught:
        imported(tmp_path, name, text)
    assert what in str(caught.value)
    if not isinstance(caught.value, UsageError):
        assert name in str(caught.value.where)


def test_a_file_that_is_not_there_or_no_list(tmp_path: Path) -> None:
    for path, what in ((tmp_path / "no.txt", "no such file"), (tmp_path, "does not say")):
        with pytest.raises(MlruntimeError) as caught:
            import_file(SOURCE, path)
        assert what in str(caught.value) or "cannot be read" in str(caught.value)
    large = tmp_path / "large.txt"
    with large.open("wb") as handle:
        handle.truncate((16 << 20) + 1)
    with pytest.raises(InvalidDefinition, match="more than 16 MiB"):
        import_file(SOURCE, large)
    large.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidDefinition, match="not UTF-8"):
        import_file(SOURCE, large)


def test_aliases_cannot_make_a_small_file_a_long_list() -> None:
    lines = "\n".join("  - *p" for _ in range(1000))
    pip = ", ".join(["'#'"] * 1000)
    text = f"x: &p {{pip: [{pip}]}}\ndependencies:\n{lines}\n"
    with pytest.raises(InvalidDefinition, match="more than 20000 packages"):
        read_foreign(text, file="environment.yml")


def test_a_very_long_line_is_read_once() -> None:
    for text in ("a" * 3_000_000, "=" * 3_000_000, "a\\\n" * 300_000, "a " * 1_000_000):
        with pytest.raises(InvalidDefinition) as caught:
            read_foreign(f"{text}\n", file="r.txt")
        assert len(str(caught.value)) < 500
    (found,) = read_foreign(" " * 3_000_000 + "x" + " " * 3_000_000 + "# y", file="r.txt").wanted
    assert found.name == "x"


@pytest.mark.parametrize(
    ("text", "name", "specifier", "build"),
    [
        ("numpy", "numpy", "", ""),
        ("numpy *", "numpy", "", ""),
        ("NumPy=1.26", "numpy", "==1.26.*", ""),
        ("numpy ==1.26", "numpy", "==1.26", ""),
        ("numpy 1.26", "numpy", "==1.26", ""),
        ("numpy 1.26.*", "numpy", "==1.26.*", ""),
        ("numpy 1.26*", "numpy", "==1.26.*", ""),
        ("numpy=1.26.*", "numpy", "==1.26.*", ""),
        ("numpy >= 1.20, < 2", "numpy", "<2,>=1.20", ""),
        ("numpy>=1.20,!=1.21.*", "numpy", "!=1.21.*,>=1.20", ""),
        ("numpy=1.26.4=py311_0", "numpy", "==1.26.4", "py311_0"),
        ("numpy 1.26.4 py311_0", "numpy", "==1.26.4", "py311_0"),
        ("numpy 1.25|1.26", "numpy", None, ""),
        ("openssl 1.1.1w", "openssl", None, ""),
        ("numpy ~=1.26", "numpy", "~=1.26", ""),
        ("conda-forge::numpy", "numpy", "", ""),
    ],
)
def test_match_specifications(text: str, name: str, specifier: str | None, build: str) -> None:
    spec = read_spec(text)
    assert spec is not None
    found = spec.specifier if spec.specifier is None else str(SpecifierSet(spec.specifier))
    wanted = specifier if specifier is None else str(SpecifierSet(specifier))
    assert (spec.name, found, spec.build) == (name, wanted, build)


@pytest.mark.parametrize("text", ["", "!!", "=1", "a b", "a\nb", "x" * 2000])
def test_what_is_no_match_specification(text: str) -> None:
    assert read_spec(text) is None


MATRIX = read_matrix(SOURCE)
BASES = [read_runtime(SOURCE, name, MATRIX) for name in ("6.0-ml", "7.0-ml")]
NAMES = st.sampled_from(["r.txt", "pylock.toml", "environment.yml", "conda-lock.yaml"])
PIECES = st.sampled_from(
    ["python", "numpy", "openjdk", "tensorflow", "a", "==", ">=", "=", "!=", "~=", "===", "1",
     "2.0", "3.11.7", "1.1.1w", "9" * 400, ".*", "*", ",", "|", " ", "[x]", "; ",
     'sys_platform == "linux"', 'python_version > "x"', "extra == 'a'", "\\", "#", "::",
     "\t", "é", "\u2028", "-r x", "@ u"]
)  # fmt: skip
LINES = st.lists(PIECES, max_size=8).map("".join)


def must_be_a_runtime_or_an_error(text: str, name: str) -> None:
    try:
        foreign = read_foreign(text, file=name)
    except MlruntimeError as error:
        assert error.where or isinstance(error, UsageError)
        return
    for base in BASES:
        made = compose(foreign, MATRIX, base, runtime="x", summary="y")
        from mlruntime.definitions.runtime import parse_runtime

        read = parse_runtime(text_of(made, file=name), file="runtime.yaml")
        read.must_fit("x", MATRIX.components, file="runtime.yaml")
        assert read.request == made.definition.request
        assert read.conda == made.definition.conda
        assert {str(one) for one in read.python} == {str(one) for one in made.definition.python}


@given(text=st.text(max_size=300), name=NAMES)
def test_noise_gives_a_runtime_or_an_error(text: str, name: str) -> None:
    must_be_a_runtime_or_an_error(text, name)


@given(lines=st.lists(LINES, max_size=5))
def test_any_requirements_file(lines: list[str]) -> None:
    must_be_a_runtime_or_an_error("\n".join(lines), "r.txt")


@given(conda=st.lists(LINES, max_size=4), pip=st.lists(LINES, max_size=3), channels=st.lists(LINES))
def test_any_environment_yml(conda: list[str], pip: list[str], channels: list[str]) -> None:
    text = json.dumps({"channels": channels, "dependencies": [*conda, {"pip": pip}]})
    must_be_a_runtime_or_an_error(text, "environment.yml")


@given(
    packages=st.lists(
        st.tuples(st.sampled_from(["conda", "pip"]), LINES, LINES, st.lists(LINES, max_size=2)),
        max_size=4,
    )
)
def test_any_conda_lock(packages: list[tuple[str, str, str, list[str]]]) -> None:
    package = LockedPackage(manager="pip", name="x", version="1", url="u", sha256="a" * 64)
    listed = [
        replace(
            package,
            manager=manager,  # type: ignore[arg-type]
            name=name,
            version=version,
            dependencies=tuple((need, "") for need in dict.fromkeys(needs)),
        )
        for manager, name, version, needs in packages
    ]
    must_be_a_runtime_or_an_error(write_conda_lock(listed, ["c"]), "conda-lock.yml")


@given(at=st.integers(0, len(PYLOCK)), cut=st.integers(0, 30), put=st.text(max_size=5))
def test_a_damaged_pylock(at: int, cut: int, put: str) -> None:
    must_be_a_runtime_or_an_error(PYLOCK[:at] + put + PYLOCK[at + cut :], "pylock.toml")


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["1.0"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["name", "version", "wheels", "sdist", "vcs", "dependencies", "marker"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_any_package_of_a_pylock(value: object) -> None:
    text = 'lock-version = "1.0"\ncreated-by = "x"\npackages = ' + toml(value)
    tomllib.loads(text)
    must_be_a_runtime_or_an_error(text, "pylock.toml")


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if value is None:
        return '""'
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
