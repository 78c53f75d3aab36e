"""The host's own settings: registries, proxies, credentials, certificates, time limits.

Read in this package alone, and given to every part: the lock, downloads, doctor.
``docs/host-settings.md`` says what is read and what it does.
"""

from mlruntime.host.secrets import redacted, without_secrets
from mlruntime.host.settings.debian import DEBIAN_HINT, AptSource, suite_part
from mlruntime.host.settings.network import Found
from mlruntime.host.settings.sources import Sources, discover

__all__ = [
    "DEBIAN_HINT",
    "AptSource",
    "Found",
    "Sources",
    "discover",
    "redacted",
    "suite_part",
    "without_secrets",
]
