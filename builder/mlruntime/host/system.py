"""What this host is: its processor, its C library, its kernel."""

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.version import Version

_CPUINFO: Final = Path("/proc/cpuinfo")
# The levels of the x86-64 psABI, and what each adds to the one before, as Linux calls it:
# https://gitlab.com/x86-psABIs/x86-64-ABI, "Micro-Architecture Levels".
_LEVELS: Final = (
    ("x86_64_v2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"),
    ("x86_64_v3", "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"),
    ("x86_64_v4", "avx512bw avx512cd avx512dq avx512f avx512vl"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """A host's processor, and its GNU C library's version; ``""`` where it has another.

    ``features`` are the processor's, as Linux calls them, empty where it does not tell; ``kernel``
    is Linux's version.
    """

    machine: str
    glibc: str
    kernel: str = ""
    features: frozenset[str] = frozenset()

    @classmethod
    def here(cls) -> "System":
        """Return this host's."""
        try:
            name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        except (ValueError, OSError):  # not a name that this C library knows
            name, version = "", ""
        return cls(
            machine=platform.machine(),
            glibc=version if name == "glibc" else "",
            kernel=platform.release(),
            features=_features(_CPUINFO),
        )

    @property
    def level(self) -> str:
        """Return what conda calls the processor: ``x86_64_v3``, or the machine's name."""
        found = self.machine
        if self.machine == "x86_64":
            for name, added in _LEVELS:
                if not self.features.issuperset(added.split()):
                    break
                found = name
        return found

    def runs(self, machine: str) -> bool:
        """Return whether the processor runs what is compiled for ``machine``."""
        return self.machine == machine

    def has_glibc(self, needed: str) -> bool:
        """Return whether what was linked with this version of glibc runs here."""
        return bool(self.glibc) and Version(self.glibc) >= Version(needed)

    def virtual_packages(self, cuda: str | None = None) -> Mapping[str, str]:
        """Return what conda packages may need of this host; ``cuda`` is what its driver can do.

        ``__linux`` and ``__glibc`` are versions, ``__archspec`` is the processor's level.
        """
        kernel = re.match(r"\d+(\.\d+)*", self.kernel)
        found = {
            "__linux": kernel[0] if kernel else "0",
            "__glibc": self.glibc,
            "__archspec": self.level,
            "__cuda": cuda or "",
        }
        return {name: version for name, version in found.items() if version}


def _features(cpuinfo: Path) -> frozenset[str]:
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()
