"""Spark's settings of a standing cluster, as the file that all of its nodes read. Core: no I/O.

The secret of a cluster is in this file only: what is on a command line or in a container's
environment can be seen by everybody who may ask the engine.
"""

import re
from collections.abc import Mapping
from typing import Final

from mlruntime.cluster.description import EVENTS, RECOVERY, ClusterSpec

# Only who has the secret gets a connection, and each connection is encrypted.
_SAFE: Final = {
    "spark.authenticate": "true",
    "spark.network.crypto.enabled": "true",
    "spark.network.crypto.authEngineVersion": "2",
    # This server takes programs from everybody: Spark has no authentication for it.
    "spark.master.rest.enabled": "false",
}
# As Spark's own spark.redaction.regex, and Azure's account keys, which that does not know.
_HUSH: Final = re.compile(r"secret|password|token|credential|(^|[._-])key($|[.])", re.IGNORECASE)
_RECOVERED: Final = {
    "spark.deploy.recoveryMode": "FILESYSTEM",
    "spark.deploy.recoveryDirectory": RECOVERY,
}
# Workers' and applications' pages through the master's, the only one that the host publishes.
_PAGES: Final = {"spark.ui.reverseProxy": "true", "spark.ui.showConsoleProgress": "false"}
# Pages ask nobody who they are: whoever may look at them must not end what runs.
_LOOKED_AT: Final = {"spark.ui.killEnabled": "false"}
# A cluster that stays must not fill its disks: by default, Spark removes nothing of what it writes
# for an application, however long ago that ended, and an executor's log has no end.
_CLEANED: Final = {
    "spark.worker.cleanup.enabled": "true",
    "spark.worker.cleanup.appDataTtl": "86400",
    "spark.executor.logs.rolling.strategy": "size",
    "spark.executor.logs.rolling.maxSize": "67108864",
    "spark.executor.logs.rolling.maxRetainedFiles": "4",
}
_EVENTS: Final = {
    "spark.eventLog.enabled": "true",
    "spark.eventLog.dir": f"file:{EVENTS}",
    "spark.history.fs.cleaner.enabled": "true",
    "spark.history.fs.cleaner.maxAge": "7d",
    "spark.history.fs.cleaner.maxNum": "1000",
}


def safe_settings() -> Mapping[str, str]:
    """Return what makes Spark refuse strangers; the secret is not part of it."""
    return dict(_SAFE)


def cluster_settings(spec: ClusterSpec, master_url: str) -> dict[str, str]:
    """Return the settings of all nodes and applications, without the secret."""
    return {
        "spark.master": master_url,
        **_SAFE,
        **_RECOVERED,
        **_PAGES,
        **_LOOKED_AT,
        **_CLEANED,
        **(_EVENTS if spec.history else {}),
        **spec.gpus.application(),
        **spec.settings,
    }


def properties(settings: Mapping[str, str]) -> str:
    """Return settings as Java reads properties: one line each, the last of a name wins."""
    return "".join(f"{_key(key)} {_escaped(value)}\n" for key, value in settings.items())


def may_be_secret(key: str) -> bool:
    """Tell whether a setting's name says that its value is nobody else's business."""
    return _HUSH.search(key) is not None


def _key(key: str) -> str:
    return "".join(f"\\{c}" if c in "\\ \t=:#!" else c for c in key)


def _escaped(value: str) -> str:
    text = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    # In front of a value, Java takes these for what stands between key and value.
    begin = len(text) - len(text.lstrip(" \t\f=:"))
    return "".join(f"\\{c}" for c in text[:begin]) + text[begin:]
