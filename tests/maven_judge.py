"""What Maven itself resolves, and the POMs that it does so from, recorded for tests without it.

``python -m tests.maven_judge`` records again; it needs ``mvn`` and a Maven repository.
"""

import json
import lzma
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mlruntime.ecosystems.maven.closure import Jar, needed
from mlruntime.ecosystems.maven.lines import parse_jars
from mlruntime.ecosystems.maven.locator import maven_url
from mlruntime.ecosystems.maven.pom import Coordinates, Pom, Projects, parse_pom
from mlruntime.ecosystems.maven.shipped import NOTHING
from mlruntime.ecosystems.maven.xml import read_xml
from mlruntime.fetch.web import Web
from mlruntime.workflows.store.stores import host_sources

RECORDED = Path(__file__).parent / "unit" / "ecosystems" / "maven.json.xz"
# Parents, BOMs, exclusions, managed scopes, Scala's and Hadoop's, runtime scope below compile.
CASES: Mapping[str, tuple[str, ...]] = {
    "delta and S3A": ("io.delta:delta-spark_2.13:4.0.0", "org.apache.hadoop:hadoop-aws:3.4.1"),
    "the other order": ("org.apache.hadoop:hadoop-aws:3.4.1", "io.delta:delta-spark_2.13:4.0.0"),
    "Spark's own": (
        "org.apache.spark:spark-avro_2.13:4.0.0",
        "org.apache.spark:spark-sql-kafka-0-10_2.13:4.0.0",
    ),
    "Cassandra": ("com.datastax.spark:spark-cassandra-connector_2.13:3.5.1",),
    "ABFS": ("org.apache.hadoop:hadoop-azure:3.4.1",),
}
# Too large to be recorded: hundreds of POMs.
LARGE: Mapping[str, tuple[str, ...]] = {
    "Hadoop's client": ("org.apache.hadoop:hadoop-client:3.4.1",),
    "Google's storage": ("com.google.cloud:google-cloud-storage:2.43.0",),
}
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:collect"
_FOUND = re.compile(r"^ +(\S+?):(\S+?):jar:(?:(\S+?):)?([^:\s]+):(?:compile|runtime)\b", re.M)
# What of a POM decides what it needs.
_KEPT = ("groupId", "artifactId", "version", "packaging", "parent", "properties", "dependencies",
         "dependencyManagement", "distributionManagement/relocation")  # fmt: skip


def jars(coordinates: tuple[str, ...]) -> list[Jar]:
    """Return what is asked for, in its order."""
    return [line.jar for line in parse_jars("\n".join(coordinates), file="case")]


def by_maven(coordinates: tuple[str, ...], repository: Path) -> list[str]:
    """Return what Maven would put on the class path, sorted; it downloads no jar of it."""
    wanted = "".join(
        f"<dependency><groupId>{jar.project.group}</groupId>"
        f"<artifactId>{jar.project.artifact}</artifactId>"
        f"<version>{jar.project.version}</version></dependency>"
        for jar in jars(coordinates)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pom.xml").write_text(
            "<project><modelVersion>4.0.0</modelVersion><groupId>a</groupId>"
            "<artifactId>b</artifactId><version>1</version><packaging>pom</packaging>"
            f"<dependencies>{wanted}</dependencies></project>"
        )
        ran = subprocess.run(
            ["mvn", "-B", "-U", "-ntp", f"-Dmaven.repo.local={repository}", _PLUGIN,
             "-DincludeScope=runtime", "-DoutputFile=found.txt"],
            cwd=folder, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout[-2000:]
        text = (folder / "found.txt").read_text()
    found = [(":".join(filter(None, m[:3])), m[3]) for m in _FOUND.findall(text)]
    return sorted(" ".join(one) for one in found)


def by_us(coordinates: tuple[str, ...], read: Callable[[Coordinates], Pom]) -> list[str]:
    """Return what we resolve of the same, as if Spark had no jar of its own."""
    found = needed(jars(coordinates), Projects(read), lambda: NOTHING)
    return sorted(f"{jar.name} {jar.project.version}" for jar in found.jars)


class Poms:
    """The POMs of this host's repository; remembers what was read."""

    def __init__(self, web: Web, url: str) -> None:
        self.read: dict[str, str] = {}
        self._web, self._url = web, url

    def __call__(self, project: Coordinates) -> Pom:
        file = f"{project.artifact}-{project.version}.pom"
        answer = self._web.text(maven_url(self._url, project.name, project.version, file))
        assert answer is not None, project
        self.read[str(project)] = answer[2]
        return parse_pom(answer[2], file=file)


def stripped(text: str) -> str:
    """Return a POM less what does not matter here: people, licences, plugins, space."""
    top, kept = read_xml(text), ElementTree.Element("project")
    for path in _KEPT:
        *above, name = path.split("/")
        node = top.find(path)
        if node is not None:
            parent = kept
            for tag in above:
                parent = ElementTree.SubElement(parent, tag)
            assert node.tag == name
            parent.append(node)
    for one in kept.iter():
        one.tail, one.text = None, (one.text or "").strip() or None
    return ElementTree.tostring(kept, encoding="unicode")


def main() -> None:
    """Record what Maven says of each case, and the POMs."""
    sources = host_sources()
    recorded: dict[str, Any] = {"cases": {}, "poms": {}}
    with tempfile.TemporaryDirectory() as repository, Web(sources) as web:
        poms = Poms(web, sources.maven)
        for name, coordinates in CASES.items():
            recorded["cases"][name] = by_maven(coordinates, Path(repository))
            by_us(coordinates, poms)
    recorded["poms"] = {name: stripped(text) for name, text in sorted(poms.read.items())}
    RECORDED.write_bytes(lzma.compress(json.dumps(recorded).encode(), preset=9))


if __name__ == "__main__":
    main()
