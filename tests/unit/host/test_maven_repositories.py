"""Downloads from a Maven repository, under the settings of a host."""

import pytest
from mlruntime.errors import Unavailable
from mlruntime.lock.packages import Artifact

from tests.unit.host.machines import SECRET, THE_WHEEL, THING, Machine
from tests.unit.relays import Relay, relaying
from tests.unit.servers import Server, serving

SETTINGS = """\
<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0">
 <mirrors><mirror><id>corp</id><mirrorOf>*</mirrorOf><url>{url}/maven</url></mirror></mirrors>
 <servers><server><id>corp</id>{server}</server></servers>
 <proxies><proxy><host>127.0.0.1</host><port>{port}</port>
  <nonProxyHosts>{direct}</nonProxyHosts></proxy></proxies>
</settings>
"""
JAR = Artifact(
    kind="jar",
    name="g:a",
    version="1",
    filename="a-1.jar",
    size=len(THING),
    sha256=THE_WHEEL.sha256,
    origin="maven",
)


def test_java_s_own_proxies(machine: Machine) -> None:
    with serving(Server()) as server, relaying(Relay("http")) as relay:
        server.put("/maven/g/a/1/a-1.jar", THING)
        options = f"-Xmx1g -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort={relay.port}"
        environ = {"MLRUNTIME_MAVEN_REPOSITORY": f"{server.url}/maven"}
        assert machine.fetch(JAR, **environ, MAVEN_OPTS=options) == THING
        assert relay.seen == [f"127.0.0.1:{server.port}"]
        options += " -Dhttp.nonProxyHosts=localhost|127.*"
        assert machine.fetch(JAR, **environ, JAVA_TOOL_OPTIONS=options) == THING
        assert len(relay.seen) == 1
    store = "-Djavax.net.ssl.trustStore=/corp.jks"
    (found,) = [f for f in machine.sources(MAVEN_OPTS=store).settings() if not f.works]
    assert (found.setting, "/corp.jks" in found.value) == ("MAVEN_OPTS", True)


def test_maven_s_settings(machine: Machine) -> None:
    with serving(Server(password=("user", SECRET))) as server, relaying(Relay("http")) as relay:
        server.put("/maven/g/a/1/a-1.jar", THING)
        login = "<username>user</username><password>${env.CORP}</password>"

        def settings(server_text: str, port: int = relay.port, direct: str = "*.corp") -> None:
            text = SETTINGS.format(url=server.url, server=server_text, port=port, direct=direct)
            machine.write("home/.m2/settings.xml", text)

        settings(login)
        assert machine.fetch(JAR, CORP=SECRET) == THING
        assert relay.seen == [f"127.0.0.1:{server.port}"]
        settings(login, port=9, direct="localhost|127.*")
        assert machine.fetch(JAR, CORP=SECRET) == THING
        header = (
            "<configuration><httpHeaders><property><name>Private-Token</name>"
            f"<value>{SECRET}</value></property></httpHeaders></configuration>"
        )
        settings(header, port=9, direct="127.*|localhost")
        with serving(Server(files=server.files)) as other:
            place = f"http://localhost:{other.port}/maven/g/a/1/a-1.jar"
            server.statuses = [(302, {"Location": place})]
            assert machine.fetch(JAR) == THING
            assert [h.get("Private-Token") for h in (*server.headers[-1:], *other.headers)] == [
                SECRET,
                None,
            ]
        settings("<username>user</username><password>{COQLCE6DU6GtcS5P=}</password>")
        (found,) = [f for f in machine.sources().settings() if not f.works]
        assert "encrypted" in found.value
        with pytest.raises(Unavailable, match="requires a valid login"):
            machine.fetch(JAR)
