"""Jars from a directory in Maven's layout."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlruntime.ecosystems.maven.repository import Repository
from mlruntime.errors import ArtifactNotFound, HashMismatch, Unavailable
from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources
from mlruntime.store.store import Store

GROUP = "io.graphframes"


class Published:
    """A repository that things can be put into."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(
        self, artifact: str, version: str, dependencies: str = "", properties: str = ""
    ) -> Path:
        folder = self.root / GROUP.replace(".", "/") / artifact / version
        folder.mkdir(parents=True)
        jar = folder / f"{artifact}-{version}.jar"
        jar.write_bytes(f"{artifact} {version}".encode())
        jar.with_suffix(".pom").write_text(
            '<project xmlns="http://maven.apache.org/POM/4.0.0">'
            f"<properties>{properties}</properties>"
            f"<dependencies>{dependencies}</dependencies></project>"
        )
        return jar


def needs(artifact: str, version: str = "1", group: str = GROUP, more: str = "") -> str:
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version>{more}</dependency>"
    )


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(tmp_path / "maven repository")


@pytest.fixture
def repository(tmp_path: Path, published: Published) -> Iterator[Repository]:
    url = published.root.as_uri()
    with Web(Sources(indexes=(), maven=url, debian=())) as web:
        yield Repository(url=url, web=web, store=Store(tmp_path / "store"))


def test_a_jar_with_its_hash_in_the_store(published: Published, repository: Repository) -> None:
    content = published.put("gf", "1").read_bytes()
    (jar,) = repository.closure(f"{GROUP}:gf", "1")
    assert jar.sha256 == hashlib.sha256(content).hexdigest()
    assert (jar.kind, jar.filename, jar.size, jar.origin) == (
        "jar",
        "gf-1.jar",
        len(content),
        "maven",
    )
    blob = repository.store.blob(jar.sha256)
    assert blob is not None
    assert blob.read_bytes() == content


def test_jars_of_its_group_come_along_others_are_spark_s(
    published: Published, repository: Repository
) -> None:
    published.put(
        "gf",
        "1",
        needs("graphx", "${v}")
        + needs("core", "${project.version}", "${project.groupId}", "<scope>runtime</scope>")
        + needs("spark-sql", group="org.apache.spark", more="<scope>provided</scope>")
        + needs("scala-library", group="org.scala-lang")
        + needs("tests", more="<scope>test</scope>")
        + needs("extras", more="<optional>true</optional>"),
        properties="<v>2</v>",
    )
    published.put("graphx", "2", needs("core"))
    published.put("core", "1", needs("graphx", "2"))
    found = repository.closure(f"{GROUP}:gf", "1")
    assert [(a.name, a.version) for a in found] == [
        (f"{GROUP}:core", "1"),
        (f"{GROUP}:gf", "1"),
        (f"{GROUP}:graphx", "2"),
    ]


def test_a_missing_jar_or_dependency_is_not_found(
    published: Published, repository: Repository
) -> None:
    published.put("gf", "1", needs("graphx"))
    for name, missing in (("other", "other-1.jar"), ("gf", "graphx-1.jar")):
        with pytest.raises(ArtifactNotFound) as caught:
            repository.closure(f"{GROUP}:{name}", "1")
        assert missing in caught.value.what
        assert "MLRUNTIME_MAVEN_REPOSITORY" in str(caught.value.hint)
        assert "//" not in caught.value.what


@pytest.mark.parametrize("kind", ["sha1", "sha256", "sha512"])
def test_checksum_files_beside_it_are_believed(
    published: Published, repository: Repository, kind: str
) -> None:
    jar = published.put("gf", "1")
    side = jar.with_name(f"{jar.name}.{kind}")
    side.write_text(hashlib.new(kind, jar.read_bytes()).hexdigest() + "  gf-1.jar\n")
    assert len(repository.closure(f"{GROUP}:gf", "1")) == 1
    side.write_text("0000\n")
    with pytest.raises(HashMismatch, match="is not what its repository says") as caught:
        repository.closure(f"{GROUP}:gf", "1")
    assert caught.value.exit_code == 5


def test_poms_that_cannot_be_used(published: Published, repository: Repository) -> None:
    jar = published.put("gf", "1", needs("graphx", "${parent.version}"))
    with pytest.raises(Unavailable, match="names graphx without a version"):
        repository.closure(f"{GROUP}:gf", "1")
    jar.with_suffix(".pom").write_text("<project>")
    with pytest.raises(Unavailable, match=r"gf-1\.pom cannot be read"):
        repository.closure(f"{GROUP}:gf", "1")
    jar.with_suffix(".pom").unlink()
    with pytest.raises(ArtifactNotFound, match=r"gf-1\.pom"):
        repository.closure(f"{GROUP}:gf", "1")
