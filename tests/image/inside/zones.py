"""What each zone name means to Java, to C and to Python: offsets in hours, as JSON.

With the argument ``local``: the zone of this container, and UTC's own.
"""

import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pyspark.java_gateway import launch_gateway

ZONES = Path("/usr/share/zoneinfo")
SECONDS = (946_728_000, 1_768_478_400, 1_784_116_800)  # in 2000, in January and in July of 2026


def in_c(name: str, second: int) -> float:
    os.environ["TZ"] = name
    time.tzset()
    return time.localtime(second).tm_gmtoff / 3600


def links() -> dict[str, str]:
    lines = (line.split() for line in (ZONES / "tzdata.zi").read_text().splitlines())
    return {words[2]: words[1] for words in lines if words[:1] == ["L"]}


def names() -> list[str]:
    found = sorted(str(path.relative_to(ZONES)) for path in ZONES.rglob("*") if path.is_file())
    return [
        name
        for name in found
        if not name.startswith(("posix/", "right/")) and (ZONES / name).read_bytes()[:4] == b"TZif"
    ]


java = launch_gateway().jvm.java.util.TimeZone
if sys.argv[1:] == ["local"]:
    local = time.localtime(SECONDS[1]).tm_gmtoff // 3600
    hours = java.getDefault().getOffset(SECONDS[1] * 1000) // 3_600_000
    json.dump({"c": local, "java": hours, "utc": in_c("Etc/UTC", SECONDS[1])}, sys.stdout)
    sys.exit()
known = (Path(os.environ["JAVA_HOME"]) / "lib/tzdb.dat").read_bytes()
accepted = [name for name in names() if name.encode() in known]
different = {}
for name in accepted:
    zone, theirs = ZoneInfo(name), java.getTimeZone(name)
    for second in SECONDS:
        offset = datetime.fromtimestamp(second, zone).utcoffset()
        assert offset is not None
        three = (
            theirs.getOffset(second * 1000) / 3_600_000,
            in_c(name, second),
            offset.total_seconds() / 3600,
        )
        if len(set(three)) > 1:
            different[name] = three
json.dump(
    {
        "names": len(accepted),
        "old": sorted(links()),
        "missing": sorted(set(links()) - set(names())),
        "refused": sorted(set(names()) - set(accepted)),
        "different": different,
    },
    sys.stdout,
)
