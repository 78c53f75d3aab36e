"""Jars as Maven finds them: judged by what Maven itself says, and by its own order of versions."""

import json
import lzma
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlruntime.ecosystems.maven.closure import needed
from mlruntime.ecosystems.maven.conflict import JarConflict
from mlruntime.ecosystems.maven.lines import parse_jars
from mlruntime.ecosystems.maven.pom import Coordinates, Pom, Projects, parse_pom
from mlruntime.ecosystems.maven.scala import scala_of
from mlruntime.ecosystems.maven.shipped import NOTHING, ShippedJar, ShippedJars
from mlruntime.ecosystems.maven.versions import allows, exactly, maven_order
from mlruntime.ecosystems.maven.xml import UnreadableXml, read_xml
from mlruntime.errors import InvalidDefinition, MlruntimeError, Unavailable

from tests.maven_judge import CASES, RECORDED, by_us, jars

RECORD: dict[str, Any] = json.loads(lzma.decompress(RECORDED.read_bytes()))


def recorded(project: Coordinates) -> Pom:
    return parse_pom(RECORD["poms"][str(project)], file=str(project))


@pytest.mark.parametrize("case", CASES)
def test_what_jars_need_is_what_maven_says(case: str) -> None:
    assert by_us(CASES[case], recorded) == RECORD["cases"][case]


def test_what_spark_has_is_left_to_it_and_told() -> None:
    shipped = ShippedJars(
        (
            ShippedJar(group="org.scala-lang", artifact="scala-library", version="2.13.16"),
            ShippedJar(group="", artifact="antlr4-runtime", version="4.9.3"),
        )
    )
    found = needed(jars(CASES["delta and S3A"]), Projects(recorded), lambda: shipped)
    assert [jar.filename for jar in found.jars] == [
        "delta-spark_2.13-4.0.0.jar",
        "delta-storage-4.0.0.jar",
        "hadoop-aws-3.4.1.jar",
        "wildfly-openssl-1.1.3.Final.jar",
        "bundle-2.24.6.jar",
    ]
    assert found.conflicts == (
        "org.antlr:antlr4-runtime: 4.9.3 is used (Spark's own),"
        " 4.13.1 was asked for by io.delta:delta-spark_2.13:4.0.0",
    )


def project(needs: str, more: str = "", group: str = "g", artifact: str = "a") -> str:
    return (
        f"<project><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
        f"<version>1</version>{more}<dependencies>{needs}</dependencies></project>"
    )


def need(artifact: str, version: str, more: str = "") -> str:
    return (
        f"<dependency><groupId>g</groupId><artifactId>{artifact}</artifactId>"
        f"<version>{version}</version>{more}</dependency>"
    )


def found_in(poms: dict[str, str], *wanted: str, scala: str = "") -> list[str]:
    def read(project: Coordinates) -> Pom:
        return parse_pom(poms[str(project)], file=str(project))

    answer = needed(jars(wanted), Projects(read), lambda: NOTHING, scala)
    return [f"{jar.name} {jar.project.version}" for jar in answer.jars]


def test_a_range_is_held_to_and_never_chosen_from() -> None:
    poms = {
        "g:a:1": project(need("b", "[1,2)")),
        "g:b:1.5": project("", artifact="b"),
        "g:b:2": project("", artifact="b"),
        "g:c:1": project(need("b", "[2]"), artifact="c"),
    }
    with pytest.raises(
        JarConflict, match=r"asks for a range of versions of g:b: \[1,2\)"
    ) as caught:
        found_in(poms, "g:a:1")
    assert caught.value.hint == "ask for g:b too, in a version of your choice"
    assert found_in(poms, "g:a:1", "g:b:1.5") == ["g:a 1", "g:b 1.5"]
    with pytest.raises(JarConflict, match=r"needs g:b \[1,2\), and 2 is nearer"):
        found_in(poms, "g:a:1", "g:b:2")
    assert found_in(poms, "g:c:1") == ["g:b 2", "g:c 1"]


def test_a_jar_for_another_scala_is_refused_wherever_it_is_needed() -> None:
    poms = {"g:a:1": project(need("b_2.12", "1")), "g:b_2.12:1": project("", artifact="b_2.12")}
    assert found_in(poms, "g:a:1", scala="2.12") == ["g:a 1", "g:b_2.12 1"]
    with pytest.raises(JarConflict, match=r"g:b_2\.12 is for Scala 2\.12, .* Scala 2\.13") as told:
        found_in(poms, "g:a:1", scala="2.13")
    assert "g:a:1 needs it" in str(told.value)
    assert [scala_of(a) for a in ("x_2.13", "x_3", "x", "x_1", "spark-3.5_2.12")] == [
        "2.13", "3", None, None, "2.12",
    ]  # fmt: skip


def test_properties_without_a_prefix_and_types_with_a_classifier() -> None:
    poms = {
        "g:a:1": project(
            need("b", "${version}") + need("c", "${pom.version}", "<type>test-jar</type>")
        ),
        "g:b:1": project("", artifact="b"),
        "g:c:1": project("", artifact="c"),
    }  # fmt: skip
    assert found_in(poms, "g:a:1") == ["g:a 1", "g:b 1", "g:c:tests 1"]


# What `java -cp maven-artifact.jar org.apache.maven.artifact.versioning.ComparableVersion` says of
# each and the next one.
ORDER = """
1-alpha < 1.0-beta == 1-b0 > 1a1 < 1.0-M2 < 1.0-rc1 == 1.0.CR1 < 1.0-SNAPSHOT < 1.0 == 1 == 1-ga
== 1.0.Final < 1.0-sp < 1-foo < 1.0-xyz < 1-1 < 1.0.1 < 1.9 < 1.10 < 2.0-jre < 20040616
"""


def test_versions_are_in_maven_s_order() -> None:
    words = ORDER.split()
    for left, sign, right in zip(words[::2], words[1::2], words[2::2], strict=False):
        one, other = maven_order(left), maven_order(right)
        assert (one < other, one == other) == (sign == "<", sign == "=="), (left, right)


def test_ranges() -> None:
    inside = ["[1,2)", "(,1.5]", "[1.5]", "(1,)", "(,1],[1.2,)", "1.0"]
    assert all(allows(wanted, "1.5") for wanted in inside)
    assert not any(
        allows(wanted, "2.0") for wanted in ("[1,2)", "(2,)", "(,2)", "[1]", "(,1],[3,)")
    )
    assert [exactly(v) for v in ("[1]", "[1,2]", "1", "(1)", "[]")] == ["1", None, None, None, None]
    with pytest.raises(Unavailable, match="is no range"):
        allows("[1,2", "1")


@given(st.text(alphabet="019.-abmrcs[](),_", max_size=30), st.text(max_size=30))
def test_any_text_has_its_place_among_versions(one: str, other: str) -> None:
    left, right = maven_order(one), maven_order(other)
    assert (left < right) + (left == right) + (left > right) == 1


# POMs and lists as foreign bytes.

BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {c} "{"&" + chr(ord(c) - 1) + ";"}{"&" + chr(ord(c) - 1) + ";"}">'
        for c in "bcdefgh"
    )
    + "]><project><version>&h;</version></project>"
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><project>&a;</project>',
        '<!DOCTYPE x [<!ENTITY % a SYSTEM "file:///etc/passwd">%a;]><project/>',
        "<a>" * 101 + "</a>" * 101,
        "<a>" + "<b/>" * 200_001 + "</a>",
        "<a>", "", "\x00", "<a/><b/>", "\udcff",
    ],
)  # fmt: skip
def test_xml_that_nobody_means(text: str) -> None:
    with pytest.raises(UnreadableXml):
        read_xml(text)


def test_old_poms_with_names_of_people() -> None:
    text = '<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE project SYSTEM "http://x/y.dtd">'
    top = read_xml(f"{text}<p:project xmlns:p='u'><name>Laugst&oslash;l</name></p:project>")
    assert (top.tag, top.findtext("name")) == ("project", "Laugstl")


PIECES = st.sampled_from(
    ["<project>", "</project>", "<dependencies>", "<dependency>", "</dependency>", "<version>",
     "<artifactId>", "g", "1", "${a}", "<properties><a>${a}${a}</a></properties>", "</version>",
     "<parent>", "</parent>", "&x;", "<!--", "-->", "<![CDATA[", "]]>", "<!DOCTYPE a>"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60))
def test_whatever_a_pom_says_the_error_is_ours(text: str) -> None:
    def read(project: Coordinates) -> Pom:
        return parse_pom(text, file="x.pom")

    try:
        needed(jars(("g:a:1",)), Projects(read), lambda: NOTHING)
    except MlruntimeError as error:
        assert len(str(error)) < 5000


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("https://x/a.jar", "is a URL"),
        ("./a.jar", "is a file"),
        ("a-1.jar", "is a file"),
        ("g:a", "is no jar of a repository"),
        ('"io.delta" %% "delta" % "1"', "is no jar of a repository"),
        ("g:a:1:c:d", "is no jar of a repository"),
        ("g:../a:1", "is no jar of a repository"),
        ("g:a:[1,2)", "is not the version of a release"),
        ("g:a:1-SNAPSHOT", "is not the version of a release"),
        ("g:a:../../1", "is not the version of a release"),
        ("g:a:LATEST", "is not the version of a release"),
        ("g:a:1\ng:a:2", "is asked for twice"),
        ("# nothing", "no jar is asked for"),
        ("g:" + "a" * 600 + ":1", "characters is no jar"),
    ],
)
def test_lines_that_cannot_be_locked(line: str, said: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        parse_jars(line, file="x.jars")
    assert said in caught.value.what
    assert str(caught.value.where).startswith("x.jars")


def test_lines_with_comments_and_classifiers() -> None:
    found = parse_jars("\ufeff# ours\n\n g:a:1 # this\r\ng:a:1:linux-x86_64\n", file="x")
    assert [(line.text, line.where) for line in found] == [
        ("g:a:1", "x:3"),
        ("g:a:1:linux-x86_64", "x:4"),
    ]
    assert found[1].jar.filename == "a-1-linux-x86_64.jar"


@given(st.text(max_size=80))
def test_whatever_a_list_says_the_error_is_ours(text: str) -> None:
    try:
        parse_jars(text, file="x")
    except InvalidDefinition as error:
        assert error.where
