"""Make an archive of class data for JVMs: ``prepare.py FOLDER JAR JOB [OPTION…]``.

JAR in FOLDER says nothing but which jars there are. Java takes an archive only when the
class path begins with that which it was made for, and refuses one with a directory in it: so this
jar is at the beginning, and Spark's directory of settings comes after it.
"""

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

# What Java may have in one line of a manifest, without the end of the line.
_LINE = 70
# Two JVMs load all classes of a cluster: Spark starts master and workers in the driver's.
_CLUSTER = "local-cluster[1,1,1024]"


def manifest(jars: Sequence[str]) -> bytes:
    """Return a manifest with these jars as class path, in lines as Java reads them."""
    text = f"Class-Path: {' '.join(jars)}".encode()
    lines, rest = [text[:_LINE]], text[_LINE:]
    while rest:
        lines.append(b" " + rest[: _LINE - 1])
        rest = rest[_LINE - 1 :]
    return b"\r\n".join([b"Manifest-Version: 1.0", *lines, b"", b""])


def write_jar(path: Path, folder: Path) -> None:
    """Write a jar that stands for all jars of a folder; its time is part of what Java compares."""
    above = "../" * (len(path.parts) - 2)
    jars = sorted(f"{above}{jar.as_posix()[1:]}" for jar in folder.glob("*.jar"))
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF"), manifest(jars))
    os.utime(path, (0, 0))


def record(jar: Path, job: str, lists: Path) -> None:
    """Run a job; each JVM writes which classes it has loaded to a file in ``lists``."""
    # C1 alone: which classes are loaded does not depend on how they are compiled.
    options = f"-XX:TieredStopAtLevel=1 -XX:DumpLoadedClassList={lists}/%p"
    settings = {
        "spark.authenticate": "true",
        "spark.authenticate.secret": "none",
        "spark.network.crypto.enabled": "true",
        "spark.network.crypto.authEngineVersion": "2",
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": f"file:{lists.parent}",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraClassPath": str(jar),
        "spark.executor.extraClassPath": str(jar),
        "spark.driver.extraJavaOptions": options,
        "spark.executor.extraJavaOptions": options,
    }
    words = [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
    local = {"SPARK_LOCAL_HOSTNAME": "localhost", "SPARK_LOCAL_IP": "127.0.0.1"}
    subprocess.run(
        ["spark-submit", "--master", _CLUSTER, *words, job], check=True, env=os.environ | local
    )


def merged(lists: Path) -> list[str]:
    """Return what is in any of the lists, each once, in the order in which it was loaded.

    Numbers of classes, which newer JVMs write, are those of one list only. What a class loader of
    a program's own has loaded (``source:``) would need them, and is left out.
    """
    found = {
        line.partition(" id: ")[0]: None
        for path in sorted(lists.iterdir())
        for line in path.read_text(encoding="utf-8").splitlines()
        if not line.startswith("#") and " source: " not in line
    }
    return list(found)


def main(folder: Path, name: str, job: str, options: Sequence[str]) -> None:
    """Make the archive, and have a JVM say that it takes it."""
    jar, archive = folder / name, folder / "spark.jsa"
    write_jar(jar, Path(os.environ["SPARK_HOME"], "jars"))
    with tempfile.TemporaryDirectory() as scratch:
        lists = Path(scratch, "lists")
        lists.mkdir()
        begun = time.monotonic()
        record(jar, job, lists)
        classes = Path(scratch, "classes")
        classes.write_text("\n".join(merged(lists)) + "\n", encoding="utf-8")
        print(f"recorded after {time.monotonic() - begun:.0f} s", flush=True)
        told = [f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={archive}"]
        subprocess.run(["java", "-Xshare:dump", *told, "-cp", str(jar)], check=True)
        print(f"made after {time.monotonic() - begun:.0f} s", flush=True)
    path = f"{jar}:{os.environ['SPARK_CONF_DIR']}"
    subprocess.run(["java", "-Xshare:on", *options, "-cp", path, "-version"], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
