"""The OS layer: Debian's packages installed by their own dpkg, in a container without network.

The container's image, the *seed*, is made of the same packages, unpacked but not configured: the
essential ones, which maintainer scripts may rely on, and Python, which compiles bytecode before
the system is finished. So nothing of the host's own system is used.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builder.document import canonical_json
from builder.engine import Engine, Mount
from builder.errors import CommandFailed
from builder.layering import debian
from builder.layering.tarball import MTIME, USER_ID
from builder.lock import Artifact, set_digest
from builder.plan import ImageConfig, PlannedLayer, layer_key
from builder.store import Store, link_or_copy

_SECONDS: Final = 900
_KIND: Final = "seed"
# Raise it when other packages would be chosen from the same set.
_SEED: Final = 1
_EXCLUDES: Final = "\n".join(f"path-exclude=/{prefix}*" for prefix in debian.EXCLUDED)
# The seed's files are there before dpkg knows of them, as with debootstrap: dpkg takes them over
# when it unpacks their packages. Dependencies are only ignored until all have been unpacked.
# What no maintainer script uses before that is removed first: dpkg links a file that it replaces
# to another name, and for that the engine's file system copies it, and waits for the disk.
# force-unsafe-io: nobody keeps what a crash interrupts here, so files need not be synced.
_SCRIPT: Final = f"""\
set -eu
cd /
mkdir -p etc/dpkg/dpkg.cfg.d usr/share/man/man1 var/lib/dpkg/info var/lib/dpkg/updates
cat > etc/dpkg/dpkg.cfg.d/mlruntime <<'END'
force-unsafe-io
{_EXCLUDES}
path-include=/usr/share/doc/*/copyright
END
: > var/lib/dpkg/status
cp usr/share/base-passwd/passwd.master etc/passwd
cp usr/share/base-passwd/group.master etc/group
rm -rf usr/bin/python3.* usr/lib/python3.* usr/lib/*/gconv
dpkg --force-depends --unpack /mlr/debs/*.deb
dpkg --configure --pending
problems=$(dpkg --audit)
[ -z "$problems" ] || {{ echo "$problems"; exit 1; }}
echo 'ml:x:{USER_ID}:{USER_ID}:ML runtime:/home/ml:/bin/bash' >> etc/passwd
echo 'ml:x:{USER_ID}:' >> etc/group
echo 'ml:*:{MTIME // 86400}:0:99999:7:::' >> etc/shadow
rm -f etc/passwd- etc/group- etc/shadow- etc/gshadow- var/lib/dpkg/*-old
tar --create --file /mlr/out/os.tar --one-file-system --sort=name --numeric-owner \\
    --exclude=./mlr .
"""
# Part of the layer's key: changes when how it is made does.
RECIPE: Final = hashlib.sha256(f"{debian.RECIPE} {_SCRIPT}".encode()).hexdigest()
_ENVIRONMENT: Final = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "LC_ALL": "C.UTF-8",
    "SOURCE_DATE_EPOCH": str(MTIME),
}
CONFIG: Final = ImageConfig(
    user="0:0",
    workdir="/",
    entrypoint=(),
    command=("sh",),
    environment=(("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),),
    labels=(),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seed:
    """The layers of the seed: for bytecode ``python`` is enough, maintainer scripts need both.

    Two, so that the first can be used while the second is still unpacked: xz is slow to read.
    """

    python: PlannedLayer
    essential: PlannedLayer


def seed(
    store: Store,
    packages: tuple[Artifact, ...],
    files: Callable[[], Mapping[str, Path]],
    python: str,
) -> Seed:
    """Return the seed of a system; ``python`` is the interpreter's minor version.

    What packages depend on stands in their files, which are asked for by ``files`` (by sha256)
    only if the store does not know the answer yet.
    """
    text = canonical_json([_SEED, set_digest(packages), python])
    key = hashlib.sha256(text.encode()).hexdigest()
    record = store.record(_KIND, key) or store.write_record(
        _KIND, key, json.dumps(_groups(packages, files(), python))
    )
    groups = json.loads(record.read_text(encoding="utf-8"))
    return Seed(
        python=_unpacked("seed-python", packages, groups["python"]),
        essential=_unpacked("seed-essential", packages, groups["essential"]),
    )


def _groups(
    packages: tuple[Artifact, ...], files: Mapping[str, Path], python: str
) -> dict[str, list[str]]:
    controls = {a.name: debian.control(a, files[a.sha256]) for a in packages}
    interpreter = debian.closure(controls, (n for n in (f"python{python}",) if n in controls))
    essential = debian.essential(controls) - interpreter
    return {"python": sorted(interpreter), "essential": sorted(essential)}


def _unpacked(name: str, packages: tuple[Artifact, ...], names: list[str]) -> PlannedLayer:
    chosen = tuple(a for a in packages if a.name in names)
    key = layer_key("unpacked", [debian.RECIPE, set_digest(chosen)])
    return PlannedLayer(name=name, source="unpacked", key=key, packages=chosen)


def install(
    engine: Engine,
    image: str,
    packages: Iterable[tuple[Artifact, Path]],
    scratch: Path,
    on_line: Callable[[str], None],
) -> Path:
    """Install all packages in a container of the seed; return the system as a tar archive.

    Raises ``CommandFailed`` with dpkg's last words.
    """
    repository, out = _made(scratch / "debs"), _made(scratch / "out")
    for package, path in packages:
        link_or_copy(path, repository / package.filename)
    result = engine.run(
        image,
        ["/bin/sh", "-c", _SCRIPT],
        hostname="bootstrap",
        mounts=(
            Mount(source=str(repository), target="/mlr/debs", read_only=True),
            Mount(source=str(out), target="/mlr/out"),
        ),
        environment=_ENVIRONMENT,
        timeout=_SECONDS,
        on_line=on_line,
    )
    if result.exit_code != 0:
        raise CommandFailed("Debian's packages could not be installed", why=result.tail)
    return out / "os.tar"


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
