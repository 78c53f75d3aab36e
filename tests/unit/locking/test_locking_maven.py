"""Jars from a directory in Maven's layout."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlruntime.ecosystems.maven.repository import MavenRepository
from mlruntime.ecosystems.maven.shipped import (
    ShippedJar,
    ShippedJars,
    read_shipped,
    shipped_from_json,
    shipped_to_json,
)
from mlruntime.errors import (
    ArtifactNotFound,
    HashMismatch,
    InvalidLock,
    NoCompatibleVersions,
    Unavailable,
)
from mlruntime.fetch.web import Web
from mlruntime.host.settings import Sources
from mlruntime.lock.packages import Artifact
from mlruntime.store.store import Store

GROUP = "io.graphframes"


class Published:
    """A repository that things can be put into."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(
        self,
        artifact: str,
        version: str,
        dependencies: str = "",
        properties: str = "",
        *,
        group: str = GROUP,
        more: str = "",
    ) -> Path:
        folder = self.root / group.replace(".", "/") / artifact / version
        folder.mkdir(parents=True)
        jar = folder / f"{artifact}-{version}.jar"
        jar.write_bytes(f"{artifact} {version}".encode())
        jar.with_suffix(".pom").write_text(
            '<project xmlns="http://maven.apache.org/POM/4.0.0">'
            f"<groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version>{more}"
            f"<properties>{properties}</properties>"
            f"<dependencies>{dependencies}</dependencies></project>"
        )
        return jar


def needs(artifact: str, version: str = "1", group: str = GROUP, more: str = "") -> str:
    said = f"<version>{version}</version>" if version else ""
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"{said}{more}</dependency>"
    )


def managed(*dependencies: str) -> str:
    inner = "".join(dependencies)
    return f"<dependencyManagement><dependencies>{inner}</dependencies></dependencyManagement>"


def parent(artifact: str, version: str = "1") -> str:
    return (
        f"<parent><groupId>{GROUP}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version></parent>"
    )


def excluding(artifact: str, group: str = GROUP) -> str:
    return (
        f"<exclusions><exclusion><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        "</exclusion></exclusions>"
    )


def closure(repository: MavenRepository, name: str, *shipped: ShippedJar) -> tuple[Artifact, ...]:
    return repository.closure([(name, "1")], lambda: ShippedJars(shipped)).artifacts


def names(artifacts: tuple[Artifact, ...]) -> list[str]:
    return [f"{a.name.removeprefix(f'{GROUP}:')} {a.version}" for a in artifacts]


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(tmp_path / "maven repository")


@pytest.fixture
def repository(tmp_path: Path, published: Published) -> Iterator[MavenRepository]:
    url = published.root.as_uri()
    with Web(Sources(indexes=(), maven=url, debian=())) as web:
        yield MavenRepository(url=url, web=web, store=Store(tmp_path / "store"))


def test_a_jar_with_its_hash_in_the_store(
    published: Published, repository: MavenRepository
) -> None:
    content = published.put("gf", "1").read_bytes()
    (jar,) = closure(repository, f"{GROUP}:gf")
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


SPARK = (
    ShippedJar(group="org.scala-lang", artifact="scala-library", version="2.13.17"),
    ShippedJar(group="", artifact="commons", version="2"),
)


def test_what_a_jar_needs_comes_along_less_what_spark_ships(
    published: Published, repository: MavenRepository
) -> None:
    """hadoop-aws is nothing without the AWS bundle, which is of another group."""
    published.put(
        "gf",
        "1",
        needs("graphx", "${v}")
        + needs("core", "${project.version}", "${project.groupId}", "<scope>runtime</scope>")
        + needs("bundle", group="com.aws")
        + needs("spark-sql", group="org.apache.spark", more="<scope>provided</scope>")
        + needs("scala-library", group="org.scala-lang")
        + needs("tests", more="<scope>test</scope>")
        + needs("extras", more="<optional>true</optional>"),
        properties="<v>2</v>",
    )
    published.put("graphx", "2", needs("core"))
    published.put("core", "1", needs("graphx", "2"))
    published.put("bundle", "1", group="com.aws")
    found = closure(repository, f"{GROUP}:gf", *SPARK)
    assert names(found) == ["com.aws:bundle 1", "core 1", "gf 1", "graphx 2"]
    assert found[0].filename == "bundle-1.jar"


def test_versions_are_inherited_and_managed_as_maven_does(
    published: Published, repository: MavenRepository
) -> None:
    """From a parent, from a BOM that it imports; a child's own word comes first."""
    bom = needs("bom", more="<type>pom</type><scope>import</scope>")
    top = managed(needs("fresh", "3"), needs("own", "9"), bom)
    published.put(
        "top", "1", properties="<v>7</v><w>1</w>", more=f"<packaging>pom</packaging>{top}"
    )
    published.put("bom", "1", more=managed(needs("bommed", "${b}"), needs("fresh", "0")),
                  properties="<b>5</b>")  # fmt: skip
    published.put(
        "gf",
        "1",
        needs("fresh", "") + needs("own", "") + needs("bommed", "") + needs("by-property", "${v}"),
        properties="<v>${w}</v>",
        more=parent("top") + managed(needs("own", "4")),
    )
    for name, version in (("fresh", "3"), ("own", "4"), ("bommed", "5"), ("by-property", "1")):
        published.put(name, version)
    found = names(closure(repository, f"{GROUP}:gf"))
    assert found == ["bommed 5", "by-property 1", "fresh 3", "gf 1", "own 4"]


def test_the_nearest_version_wins_and_a_newer_one_is_told(
    published: Published, repository: MavenRepository
) -> None:
    published.put("gf", "1", needs("a") + needs("b") + needs("commons", group="c"))
    published.put("a", "1", needs("deep"))
    published.put("deep", "1", needs("x", "3"))
    published.put("b", "1", needs("x", "2") + needs("commons", "10", group="c"))
    published.put("x", "2")
    published.put("x", "3")
    found = repository.closure([(f"{GROUP}:gf", "1")], lambda: ShippedJars(SPARK))
    assert names(found.artifacts) == ["a 1", "b 1", "deep 1", "gf 1", "x 2"]
    assert found.conflicts == (
        f"c:commons: 2 is used (Spark's own), 10 was asked for by {GROUP}:b:1",
        f"{GROUP}:x: 2 is used (the nearest), 3 was asked for by {GROUP}:deep:1",
    )


def test_exclusions_hold_below_what_has_them(
    published: Published, repository: MavenRepository
) -> None:
    published.put("gf", "1", needs("a", more=excluding("x")) + needs("b", more=excluding("*", "*")))
    published.put("a", "1", needs("c"))
    published.put("b", "1", needs("x") + needs("y"))
    published.put("c", "1", needs("x"))
    assert names(closure(repository, f"{GROUP}:gf")) == ["a 1", "b 1", "c 1", "gf 1"]


def test_exclusions_of_what_is_wanted_hold_for_that_jar_alone(
    published: Published, repository: MavenRepository
) -> None:
    published.put("gf", "1", needs("x") + needs("y"))
    published.put("other", "1", needs("y"))
    published.put("y", "1", needs("z"))
    published.put("z", "1")
    wanted = [(f"{GROUP}:gf", "1"), (f"{GROUP}:other", "1")]

    def without(*exclusions: str) -> list[str]:
        found = repository.closure(wanted, excluding={f"{GROUP}:gf": exclusions})
        return names(found.artifacts)

    # The repository does not have x: what is left out is not even looked for.
    assert without(f"{GROUP}:x") == ["gf 1", "other 1", "y 1", "z 1"]
    assert without("*:*") == ["gf 1", "other 1", "y 1", "z 1"]
    assert without(f"{GROUP}:x", "*:z") == ["gf 1", "other 1", "y 1"]
    with pytest.raises(ArtifactNotFound, match=f"{GROUP}:x:1"):
        without("*:y")


def test_what_is_asked_for_is_locked_although_spark_ships_one_of_its_name(
    published: Published, repository: MavenRepository
) -> None:
    published.put("commons", "1")
    assert names(closure(repository, f"{GROUP}:commons", *SPARK)) == ["commons 1"]


def test_poms_bundles_classifiers_and_projects_that_moved(
    published: Published, repository: MavenRepository
) -> None:
    moved = "<relocation><groupId>new</groupId></relocation>"
    published.put(
        "gf",
        "1",
        needs("all", more="<type>pom</type>")
        + needs("native", more="<classifier>linux-x86_64</classifier>")
        + needs("old"),
    )
    published.put("all", "1", needs("part"), more="<packaging>pom</packaging>")
    published.put("part", "1", more="<packaging>bundle</packaging>")
    jar = published.put("native", "1")
    jar.rename(jar.with_name("native-1-linux-x86_64.jar"))
    published.put("old", "1", more=f"<distributionManagement>{moved}</distributionManagement>")
    published.put("old", "1", group="new")
    found = closure(repository, f"{GROUP}:gf")
    assert names(found) == ["gf 1", "native:linux-x86_64 1", "part 1", "new:old 1"]


def test_a_version_that_is_a_range_is_refused_and_one_that_is_pinned_is_not(
    published: Published, repository: MavenRepository
) -> None:
    published.put("gf", "1", needs("pinned", "[2]"))
    published.put("pinned", "2")
    assert names(closure(repository, f"{GROUP}:gf")) == ["gf 1", "pinned 2"]
    published.put("other", "1", needs("pinned", "[1,2)"))
    with pytest.raises(NoCompatibleVersions, match="asks for a range of versions") as caught:
        closure(repository, f"{GROUP}:other")
    assert f"ask for {GROUP}:pinned too" in str(caught.value.hint)


def test_poms_in_a_circle_end(published: Published, repository: MavenRepository) -> None:
    published.put("gf", "1", more=parent("gf"))
    with pytest.raises(Unavailable, match="circle"):
        closure(repository, f"{GROUP}:gf")
    published.put(
        "bom", "1", more=managed(needs("bom", more="<type>pom</type><scope>import</scope>"))
    )
    with pytest.raises(Unavailable, match="circle"):
        closure(repository, f"{GROUP}:bom")


# what Spark ships


def test_the_jars_of_a_source_distribution_are_read_with_their_groups(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as jar:
        jar.writestr("META-INF/maven/shaded/other/pom.properties", "")
        jar.writestr("META-INF/maven/com.example/toy/pom.properties", "")
    sdist = tmp_path / "sdist"
    with tarfile.open(sdist, "w:gz") as archive:
        for name, content in {
            "s-1/deps/jars/toy-1.2.jar": inner.getvalue(),
            "s-1/deps/jars/log4j-1.2-api-2.24.3.jar": b"no jar",
            "s-1/deps/other/left-out-1.jar": b"",
            "s-1/deps/jars/README": b"",
        }.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    found = read_shipped(sdist, "s-1.tar.gz")
    assert [(j.group, j.artifact, j.version) for j in found] == [
        ("", "log4j-1.2-api", "2.24.3"),
        ("com.example", "toy", "1.2"),
    ]
    assert shipped_from_json(shipped_to_json(found)) == found
    jars = ShippedJars(found)
    assert jars.version("com.example", "toy") == "1.2"
    assert jars.version("com.android", "toy") is None
    assert jars.version("anyone", "log4j-1.2-api") == "2.24.3"
    sdist.write_bytes(sdist.read_bytes()[:50])
    with pytest.raises(InvalidLock, match="is not a source distribution"):
        read_shipped(sdist, "s-1.tar.gz")


def test_a_missing_jar_or_dependency_is_not_found(
    published: Published, repository: MavenRepository
) -> None:
    published.put("gf", "1", needs("graphx"))
    for name, missing in (("other", "other-1.pom"), ("gf", "graphx-1.pom")):
        with pytest.raises(ArtifactNotFound) as caught:
            closure(repository, f"{GROUP}:{name}")
        assert missing in caught.value.what
        assert "MLRUNTIME_MAVEN_REPOSITORY" in str(caught.value.hint)
        assert "//" not in caught.value.what


@pytest.mark.parametrize("kind", ["sha1", "sha256", "sha512"])
def test_checksum_files_beside_it_are_believed(
    published: Published, repository: MavenRepository, kind: str
) -> None:
    jar = published.put("gf", "1")
    side = jar.with_name(f"{jar.name}.{kind}")
    side.write_text(hashlib.new(kind, jar.read_bytes()).hexdigest() + "  gf-1.jar\n")
    assert len(closure(repository, f"{GROUP}:gf")) == 1
    side.write_text("0000\n")
    with pytest.raises(HashMismatch, match="does not match its repository") as caught:
        closure(replace(repository), f"{GROUP}:gf")
    assert caught.value.exit_code == 5


def test_poms_that_cannot_be_used(published: Published, repository: MavenRepository) -> None:
    jar = published.put("gf", "1", needs("graphx", "${nobody.says}"))
    with pytest.raises(Unavailable, match=r"gf:1 names \S+graphx without a version"):
        closure(replace(repository), f"{GROUP}:gf")
    jar.with_suffix(".pom").write_text("<project>")
    with pytest.raises(Unavailable, match=r"gf-1\.pom cannot be read"):
        closure(replace(repository), f"{GROUP}:gf")
    jar.with_suffix(".pom").unlink()
    with pytest.raises(ArtifactNotFound, match=r"gf-1\.pom"):
        closure(replace(repository), f"{GROUP}:gf")
