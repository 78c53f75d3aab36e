"""What the image promises of itself: its Spark defaults hold, and time zones mean one thing."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from .cluster import Cluster
from .harness import Proof
from .processes import java_pid

_DEFAULTS = "/etc/spark/spark-defaults.conf"
_JAVA_OPTIONS = "spark.executor.defaultJavaOptions"
_SECRET = re.compile("secret|password|token|access.?key", re.IGNORECASE)
# An old name, which Debian 13 moved to a package of its own.
_ZONE = "US/Pacific"


def _defaults(root: str) -> dict[str, str]:
    text = Path(f"{root}{_DEFAULTS}").read_text(encoding="utf-8")
    lines = (line.split(maxsplit=1) for line in text.splitlines())
    found = {words[0]: words[1] for words in lines if len(words) == 2 and words[0][0] != "#"}
    # A standing cluster's own settings are there, too: what is secret is not for a report.
    return {key: value for key, value in found.items() if not _SECRET.search(key)}


def _java_arguments() -> list[str]:
    return Path(f"/proc/{java_pid()}/cmdline").read_text(encoding="utf-8").split("\0")


def defaults(cluster: Cluster, proof: Proof) -> None:
    """The image's Spark defaults are in force, in the session and in each executor's JVM."""
    wanted = _defaults(cluster.expect.root)
    proof.above("defaults of the image", len(wanted), 0)
    settings = cluster.context.getConf()
    proof.equal("settings", {key: settings.get(key) for key in wanted}, wanted)
    options = wanted[_JAVA_OPTIONS].split()
    for host, arguments in sorted(cluster.on_workers(_java_arguments).items()):
        proof.equal(f"{host}.java", [one for one in options if one in arguments], options)
        proof.equal(f"{host}.collectors", sum(map(_chooses_collector, arguments)), 1)


def _chooses_collector(argument: str) -> bool:
    """Return whether it is one like -XX:+UseParallelGC, which the image adds if there is none."""
    return fnmatchcase(argument, "-XX:+Use*GC")


@contextmanager
def _local_zone(name: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


def zones(cluster: Cluster, proof: Proof) -> None:
    """Noon is noon in an old zone, through Python's local time and through pandas."""
    spark = cluster.spark
    key = "spark.sql.session.timeZone"
    before = spark.conf.get(key)
    spark.conf.set(key, _ZONE)
    try:
        noon = spark.sql("select make_timestamp(2026, 1, 15, 12, 0, 0) as t")
        with _local_zone(_ZONE):
            proof.equal("first()", str(noon.first().t), "2026-01-15 12:00:00")
            proof.equal("toPandas()", str(noon.toPandas().t[0]), "2026-01-15 12:00:00")
    finally:
        spark.conf.set(key, before)
