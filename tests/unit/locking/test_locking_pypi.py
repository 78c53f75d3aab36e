"""From uv's answer to artifacts; uv itself is replaced by what it would print."""

import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.ecosystems.pypi import resolver as pypi
from mlruntime.ecosystems.pypi.resolver import Resolver, Static, Target
from mlruntime.errors import (
    ArtifactNotFound,
    CommandFailed,
    InvalidDefinition,
    NoCompatibleVersions,
    Unavailable,
)
from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources
from mlruntime.host.settings.network import Network
from mlruntime.host.settings.proxies import Proxies, environment
from packaging.tags import Tag

TARGET = Target(python="3.11.2", glibc=(2, 36))
SHA = "a" * 64
PROXIED = Network(proxies=Proxies(environment=environment({"https_proxy": "http://proxy"})))


def wheel(filename: str, size: str = "size = 5,") -> str:
    return f'{{ url = "https://host/{filename}", {size} hashes = {{ sha256 = "{SHA}" }} }}'


def package(name: str, version: str, *wheels: str, more: str = "", sdist: bool = False) -> str:
    text = f'[[packages]]\nname = "{name}"\nversion = "{version}"\n{more}\n'
    if sdist:
        text += f"sdist = {wheel(f'{name}-{version}.tar.gz')}\n"
    return text + f"wheels = [{', '.join(wheels)}]\n" if wheels else text


def pylock(*packages: str) -> str:
    return 'lock-version = "1.0"\ncreated-by = "uv"\n' + "\n".join(packages)


class Uv:
    """Stands for the program: keeps what it was given, answers what it was told to."""

    def __init__(self) -> None:
        self.says: str | Exception = pylock("packages = []")
        self.words: list[str] = []
        self.env: dict[str, str] = {}

    def __call__(
        self,
        argv: Sequence[str | Path],
        *,
        env: dict[str, str],
        timeout: float,
        heard: Callable[[str], None],
    ) -> str:
        self.words, self.env = [str(word) for word in argv], env
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    def after(self, option: str) -> list[str]:
        return [self.words[i + 1] for i, word in enumerate(self.words) if word == option]


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> Uv:
    fake = Uv()
    monkeypatch.setattr(pypi, "run", fake)
    return fake


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[Resolver]:
    (tmp_path / "extra").mkdir()
    sources = Sources(
        indexes=(f"{tmp_path.as_uri()}/extra/", f"{tmp_path.as_uri()}/index/"),
        maven="",
        debian=(),
    )
    with Web(sources) as web:
        yield Resolver(
            sources=replace(sources, ca_bundle=Path("/ca.pem"), network=PROXIED),
            web=web,
            target=TARGET,
            snapshot="2026-11-20T00:00:00Z",
            scratch=tmp_path,
            environ={
                "HOME": "/h", "UV_RESOLUTION": "lowest", "UV_EXCLUDE_NEWER": "2020-01-01",
                "PIP_INDEX_URL": "https://no/", "UV_CACHE_DIR": "/c", "https_proxy": "http://proxy",
            },
        )  # fmt: skip


def test_the_target_decides_every_marker_and_tag() -> None:
    assert TARGET.environment["python_version"] == "3.11"
    tags = TARGET.tags
    assert tags[0] == Tag("cp311", "cp311", "manylinux_2_36_x86_64")
    assert Tag("cp38", "abi3", "manylinux2014_x86_64") in tags
    assert Tag("py3", "none", "any") in tags
    for never in ("manylinux_2_37_x86_64", "musllinux_1_2_x86_64", "manylinux_2_28_aarch64"):
        assert not [tag for tag in tags if tag.platform == never]
    assert not [tag for tag in tags if tag.interpreter == "cp312"]


def test_one_file_for_each_package_the_best_that_fits(uv: Uv, resolver: Resolver) -> None:
    uv.says = pylock(
        package(
            "thing",
            "1.2",
            wheel("thing-1.2-py3-none-any.whl"),
            wheel("thing-1.2-cp311-cp311-manylinux_2_17_x86_64.whl"),
            wheel("thing-1.2-cp311-cp311-manylinux_2_28_x86_64.whl"),
            wheel("thing-1.2-cp311-cp311-manylinux_2_39_x86_64.whl"),
            wheel("thing-1.2-cp312-cp312-manylinux_2_28_x86_64.whl"),
            sdist=True,
        )
    )
    (artifact,) = resolver.compile(["thing"])
    assert artifact.filename == "thing-1.2-cp311-cp311-manylinux_2_28_x86_64.whl"
    assert (artifact.kind, artifact.size, artifact.sha256) == ("wheel", 5, SHA)
    assert artifact.origin == "pypi"


def test_markers_are_those_of_the_target_not_of_this_interpreter(
    uv: Uv, resolver: Resolver
) -> None:
    old = package(
        "old",
        "1",
        wheel("old-1-py3-none-any.whl"),
        more="marker = \"python_full_version < '3.11.3'\"",
    )
    new = package(
        "new", "1", wheel("new-1-py3-none-any.whl"), more="marker = \"sys_platform == 'win32'\""
    )
    uv.says = pylock(old, new)
    assert [a.name for a in resolver.compile(["x"])] == ["old"]


def test_what_has_a_recipe_is_taken_as_an_sdist_and_never_run(uv: Uv, resolver: Resolver) -> None:
    uv.says = pylock(
        package("pyspark", "3.5.9", wheel("pyspark-3.5.9-py3-none-any.whl"), sdist=True)
    )
    static = Static(name="pyspark", version="3.5.9", requires=('py4j==0.10.9.7; extra == "x"',))
    (artifact,) = resolver.compile(["pyspark==3.5.9"], static=[static])
    assert (artifact.kind, artifact.filename) == ("sdist", "pyspark-3.5.9.tar.gz")
    assert uv.after("--only-binary") == [":all:"]
    assert uv.after("--no-binary") == ["pyspark"]
    (config,) = uv.after("--config-file")
    assert tomllib.loads(Path(config).read_text()) == {
        "dependency-metadata": [
            {"name": "pyspark", "version": "3.5.9", "requires-dist": list(static.requires)}
        ]
    }


def test_uv_is_asked_for_a_c_library_that_it_knows(uv: Uv, resolver: Resolver) -> None:
    newer = replace(resolver, target=Target(python="3.13.5", glibc=(2, 41)))
    newer.compile(["a"])
    assert uv.after("--python-platform") == ["x86_64-manylinux_2_40"]
    assert Tag("cp313", "cp313", "manylinux_2_41_x86_64") in newer.target.tags


def test_metadata_of_ours_do_not_make_a_package_one_that_is_built(
    uv: Uv, resolver: Resolver
) -> None:
    given = Static(name="tensorflow", version="2.21.0", requires=("b==1",), built=False)
    uv.says = pylock(
        package("tensorflow", "2.21.0", wheel("tensorflow-2.21.0-py3-none-any.whl"), sdist=True)
    )
    (artifact,) = resolver.compile(["tensorflow"], static=[given])
    assert artifact.kind == "wheel"
    assert uv.after("--no-binary") == []
    config = tomllib.loads(Path(uv.after("--config-file")[0]).read_text())
    (stanza,) = config["dependency-metadata"]
    assert stanza["requires-dist"] == ["b==1"]


def test_uv_gets_the_host_s_indexes_and_none_of_its_other_settings(
    uv: Uv, resolver: Resolver
) -> None:
    resolver.compile(["b", "a==1"], constraints=["c==2"])
    assert uv.after("--default-index") == [f"index1={resolver.scratch.as_uri()}/index/"]
    assert uv.after("--index") == [f"index0={resolver.scratch.as_uri()}/extra/"]
    assert uv.after("--exclude-newer") == ["2026-11-20T00:00:00Z"]
    assert uv.after("--python-platform") == ["x86_64-manylinux_2_36"]
    assert uv.after("--python-version") == ["3.11.2"]
    assert uv.after("--python") == [sys.executable]
    assert Path(uv.words[3]).read_text() == "a==1\nb\n"
    assert Path(uv.after("--constraints")[0]).read_text() == "c==2\n"
    assert uv.env == {
        "HOME": "/h", "UV_CACHE_DIR": "/c", "https_proxy": "http://proxy",
        "SSL_CERT_FILE": "/ca.pem", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1",
    }  # fmt: skip


def test_nothing_asked_is_nothing_run(uv: Uv, resolver: Resolver) -> None:
    assert resolver.compile([]) == ()
    assert uv.words == []


@pytest.mark.parametrize(
    ("said", "error", "what"),
    [
        (
            "No solution found\n  Because pyspark==3.5.9 has no usable wheels and you require …",
            InvalidDefinition,
            "pyspark has no wheel, and no recipe to build one",
        ),
        (
            "No solution found\n  cause: Because all versions of docopt have no usable wheels and"
            " pipreqs==0.4.13 depends on docopt, we can conclude …\n\nhint: Wheels are required for"
            " `docopt` because building from source is disabled for all packages",
            InvalidDefinition,
            "docopt has no wheel, and no recipe to build one",
        ),
        (
            "No solution found\n  cause: Because toy==1 has no wheels with a matching platform tag"
            " (e.g., `manylinux_2_36_x86_64`) and you require toy==1, we can …",
            InvalidDefinition,
            "toy has no wheel for the image's Python and C library, and no recipe to build one",
        ),
        (
            "No solution found\n  Because nosuch was not found in the package registry and …",
            Unavailable,
            "the package index does not have nosuch",
        ),
        (
            "No solution found\n  Because there is no version of x[y]==77 and you require …",
            ArtifactNotFound,
            "the package index does not have x",
        ),
        (
            "No solution found\n  Because a==1 depends on b<2 and you require b>=2, …",
            NoCompatibleVersions,
            "the Python packages have conflicting requirements",
        ),
        ("tcp connect error", Unavailable, "uv could not resolve the Python packages"),
    ],
)
def test_uv_s_failures_become_ours(
    uv: Uv, resolver: Resolver, said: str, error: type[Exception], what: str
) -> None:
    uv.says = CommandFailed("uv exited with 1", why=said)
    with pytest.raises(error) as caught:
        resolver.compile(["x"])
    assert type(caught.value) is error
    assert caught.value.args[0] == what
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ("lock-version = 1", "uv's answer cannot be used"),
        ("[[", "uv's answer cannot be used"),
        (pylock(package("a", "1", wheel("a-1-py3-none-any.whl", size=""))), "gives no size"),
        (pylock(package("a", "1", wheel("a-1-cp312-none-any.whl"))), "uv's answer cannot be used"),
    ],
)
def test_answers_that_cannot_be_locked(uv: Uv, resolver: Resolver, answer: str, what: str) -> None:
    uv.says = answer
    with pytest.raises(Unavailable, match=what):
        resolver.compile(["x"])
