"""Lock files of pixi, in their format 6: written. Core: no I/O.

Format 6 is what pixi has installed from since 2024, and what rattler reads.
"""

from collections.abc import Iterable
from typing import Any, Final

import yaml

from mlruntime.lock.conda_lock import PLATFORM
from mlruntime.lock.packages import Artifact, CondaPackage

VERSION: Final = 6
# The name of the environment that pixi takes if none is named.
_ENVIRONMENT: Final = "default"
_NOARCH: Final = "noarch"


def write_pixi_lock(
    conda: Iterable[tuple[CondaPackage, str]],
    wheels: Iterable[tuple[Artifact, str]],
    channels: Iterable[str],
) -> str:
    """Return the text of a ``pixi.lock``; equal packages give equal bytes.

    Each package comes with its address; ``channels`` are addresses, the first has priority.
    """
    packages = [_conda(one, url) for one, url in sorted(conda, key=lambda p: p[0].name)]
    packages += [_wheel(one, url) for one, url in sorted(wheels, key=lambda p: p[0].name)]
    environment = {
        "channels": [{"url": f"{channel.rstrip('/')}/"} for channel in channels],
        "packages": {PLATFORM: [dict(list(one.items())[:1]) for one in packages]},
    }
    top = {
        "version": VERSION,
        "environments": {_ENVIRONMENT: environment},
        "packages": packages,
    }
    return str(yaml.safe_dump(top, sort_keys=False, allow_unicode=True, width=1000))


def _conda(package: CondaPackage, url: str) -> dict[str, Any]:
    """Return a conda package, with all that rattler would else guess from the address."""
    return {
        "conda": url,
        "name": package.name,
        "version": package.artifact.version,
        "build": package.build,
        "subdir": package.subdir,
        **({"noarch": _noarch(package)} if package.subdir == _NOARCH else {}),
        "sha256": package.artifact.sha256,
        **({"md5": package.md5} if package.md5 else {}),
        "depends": list(package.depends),
        "size": package.artifact.size,
    }


def _noarch(package: CondaPackage) -> str:
    """Return where a package without a platform goes: what Python imports needs a Python.

    A lock does not say it, and for a package that has no such files it makes no difference.
    """
    needs = {spec.partition(" ")[0].partition("=")[0] for spec in package.depends}
    return "python" if "python" in needs else "generic"


def _wheel(wheel: Artifact, url: str) -> dict[str, Any]:
    return {"pypi": url, "name": wheel.name, "version": wheel.version, "sha256": wheel.sha256}
