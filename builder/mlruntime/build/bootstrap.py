"""The system's own layers: Debian packages, unpacked by us and configured by their own dpkg.

Unpacking runs nothing, so each layer of packages is a function of them alone. Configuring runs
their maintainer scripts, in a container without network that has those layers and nothing else;
what changes is a layer of its own.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from mlruntime.build.secrets import refuse_secrets
from mlruntime.documents.reading import canonical_json
from mlruntime.ecosystems.debian import dpkg
from mlruntime.ecosystems.debian import packages as debian
from mlruntime.ecosystems.debian.dpkg import INFO
from mlruntime.ecosystems.debian.packages import ConfiguredFiles
from mlruntime.engine import Container, Runs
from mlruntime.engine.archives import Root, packed, save_file
from mlruntime.errors import CommandFailed
from mlruntime.image.config import ImageConfig
from mlruntime.image.sources.literal import LiteralFiles
from mlruntime.layers.writer import MTIME, USER_ID

_SECONDS: Final = 900
_EXCLUDES: Final = "\n".join(f"path-exclude=/{prefix}*" for prefix in debian.EXCLUDED)
_MOUNT: Final = "/mlr"
# A changed file has another line afterwards, since nobody can set a file's ctime. The entries of a
# directory have lines of their own.
_SEEN: Final = r"""find . -xdev \( -path ./mlr -o -path ./proc -o -path ./sys -o -path ./dev \) \
        -prune -o -type d -printf '%P\td %m %U:%G\n' -o -printf '%P\t%y %m %U:%G %s %C@\n' | sort"""
# Preinst scripts run once their packages are there, not before, as with debootstrap's essential
# packages. dpkg asks what to do about a conffile unless the new one lies beside it, and equals it.
# force-unsafe-io: nothing is kept after a crash here, so files need not be synced.
_BEFORE: Final = f"""\
set -eu
cd /
export LC_ALL=C
seen() {{
    {_SEEN}
}}
seen > {_MOUNT}/out/before
merged='s,^/\\(bin\\|lib\\|lib64\\|sbin\\)\\(/\\|$\\),/usr/\\1\\2,'
twice=$(cat {INFO}/*.list | sed "$merged" | sort | uniq -d | while IFS= read -r path; do
    if [ -L "$path" ] || {{ [ -e "$path" ] && ! [ -d "$path" ]; }}; then echo "$path"; fi
done)
[ -z "$twice" ] || {{ echo "two packages bring the same file:" $twice; exit 1; }}
"""
# Into an empty system: dpkg's database is ours, and so are the first users.
_AS_NEW: Final = f"""\
mkdir -p etc/dpkg/dpkg.cfg.d usr/share/man/man1 var/lib/dpkg/parts var/lib/dpkg/updates
cat > etc/dpkg/dpkg.cfg.d/mlruntime <<'END'
force-unsafe-io
{_EXCLUDES}
path-include=/usr/share/doc/*/copyright
END
cp -r --no-preserve=mode {_MOUNT}/notes/dpkg/. var/lib/dpkg/
cp usr/share/base-passwd/passwd.master etc/passwd
cp usr/share/base-passwd/group.master etc/group
"""
_CONFIGURING: Final = f"""\
export LC_ALL=C.UTF-8
while IFS= read -r path; do
    if [ -f "$path" ]; then cp -p "$path" "$path.dpkg-new"; fi
done < {_MOUNT}/notes/conffiles
while read -r package architecture; do
    DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE=${{package%:*}} \\
    DPKG_MAINTSCRIPT_ARCH=$architecture DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 \\
    DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= \\
        "/{INFO}/$package.preinst" install </dev/null
done < {_MOUNT}/notes/preinst
dpkg --configure --pending
problems=$(dpkg --audit)
[ -z "$problems" ] || {{ echo "$problems"; exit 1; }}
"""
_USERS: Final = f"""\
# A link would have `--volume /etc/localtime:/etc/localtime` mount over the zone UTC itself.
[ ! -L etc/localtime ] || cp --remove-destination "$(readlink -f etc/localtime)" etc/localtime
echo 'ml:x:{USER_ID}:{USER_ID}:ML runtime:/home/ml:/bin/bash' >> etc/passwd
echo 'ml:x:{USER_ID}:' >> etc/group
echo 'ml:*:{MTIME // 86400}:0:99999:7:::' >> etc/shadow
"""
_AFTER: Final = f"""\
rm -f etc/passwd- etc/group- etc/shadow- etc/gshadow- var/lib/dpkg/*-old
export LC_ALL=C
seen > {_MOUNT}/out/after
cd {_MOUNT}/out
cut -f 1 before > paths
# Of what is gone, that which is still missing where its directory is still one.
cut -f 1 after | comm -23 paths - | while IFS= read -r path; do
    case $path in */*) parent=/${{path%/*}} ;; *) parent=/ ;; esac
    if [ -d "$parent" ] && [ "$(readlink -f "$parent")" = "$parent" ]; then echo "$path"; fi
done > removed
{{ comm -13 before after | cut -f 1; sed -n 's,/[^/]*$,,p' removed; }} |
while IFS= read -r path; do
    while [ "$path" ]; do
        echo "$path"
        case $path in */*) path=${{path%/*}} ;; *) path= ;; esac
    done
done | sort -u > changed
tar --create --file changes.tar --directory / --no-recursion --numeric-owner \\
    --verbatim-files-from --files-from {_MOUNT}/out/changed
"""
_SCRIPT: Final = _BEFORE + _AS_NEW + _CONFIGURING + _USERS + _AFTER
# Onto a system that is configured: its database gets what dpkg would add. Unpacking with dpkg
# triggers those who are interested in paths; we unpacked without it.
_ADDED: Final = f"""\
{{ echo; cat {_MOUNT}/notes/dpkg/status; }} >> var/lib/dpkg/status
for file in {_MOUNT}/notes/dpkg/triggers/*; do
    cat "$file" >> "var/lib/dpkg/triggers/${{file##*/}}"
done
while IFS= read -r package; do
    sed "$merged" "{INFO}/$package.list"
done < {_MOUNT}/notes/unpacked > {_MOUNT}/out/paths
sed "$merged" var/lib/dpkg/triggers/File > {_MOUNT}/out/interests
while read -r path who; do
    if awk -v path="$path/" 'index($0 "/", path) == 1 {{ found = 1 }} END {{ exit !found }}' \\
        {_MOUNT}/out/paths
    then dpkg-trigger --no-await --by-package=dpkg "$path"; fi
done < {_MOUNT}/out/interests
"""
_SCRIPT_ON_TOP: Final = _BEFORE + _ADDED + _CONFIGURING + _AFTER
_ENVIRONMENT: Final = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "SOURCE_DATE_EPOCH": str(MTIME),
}
# Part of the layer's key: it changes when the way the layer is made changes.
RECIPE: Final = hashlib.sha256(
    canonical_json([debian.RECIPE, _SCRIPT, _ENVIRONMENT]).encode()
).hexdigest()
RECIPE_ON_TOP: Final = hashlib.sha256(
    canonical_json([debian.RECIPE, _SCRIPT_ON_TOP, _ENVIRONMENT]).encode()
).hexdigest()
# A container needs an image, and an image needs a layer: this one is empty but for mount points.
BLANK: Final = LiteralFiles(files=(), directories=(_MOUNT[1:],)).layer("blank")
CONFIG: Final = ImageConfig(
    user="0:0",
    workdir="/",
    entrypoint=(),
    command=("sh",),
    environment=(("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),),
    labels=(),
)


def configure(
    engine: Runs,
    root: Root,
    packages: Iterable[dpkg.ControlArchive],
    scratch: Path,
    on_line: Callable[[str], None],
    *,
    on_top: bool = False,
) -> ConfiguredFiles:
    """Configure the packages that are unpacked in ``root``; raises ``CommandFailed`` with
    dpkg's last words, and ``InvalidDefinition`` if a package makes a secret.

    ``on_top``: the rest of ``root`` is a system that is configured.
    """
    packages = tuple(packages)
    notes = {f"{_MOUNT[1:]}/notes/{path}": text.encode() for path, text in _notes(packages).items()}
    changes, removed = scratch / "changes.tar", scratch / "removed"

    def collect(container: Container) -> None:
        save_file(container.get(f"{_MOUNT}/out/changes.tar"), changes)
        save_file(container.get(f"{_MOUNT}/out/removed"), removed)

    result = engine.run(
        root.image,
        ["/bin/sh", "-c", _SCRIPT_ON_TOP if on_top else _SCRIPT],
        contents=(*root.contents, lambda: packed(notes, folders=[f"{_MOUNT[1:]}/out"])),
        hostname="bootstrap",
        # dpkg syncs its notes there four times for each package, whatever options it gets.
        tmpfs=("/var/lib/dpkg/updates",),
        environment=_ENVIRONMENT,
        timeout=_SECONDS,
        on_line=on_line,
        on_end=collect,
    )
    if result.exit_code != 0:
        raise CommandFailed("Debian's packages could not be configured", why=result.tail)
    refuse_secrets(changes, packages)
    gone = removed.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return ConfiguredFiles(archive=changes, removed=tuple(gone))


def _notes(packages: tuple[dpkg.ControlArchive, ...]) -> dict[str, str]:
    """Return what the script reads, by path: dpkg's database, and what it has lists of."""
    preinst = (f"{p.files_name} {p.architecture}\n" for p in packages if p.has("preinst"))
    conffiles = (f"{path}\n" for p in packages for path in p.conffiles)
    return {
        **{f"dpkg/{path}": text for path, text in dpkg.database(packages).items()},
        "preinst": "".join(preinst),
        "conffiles": "".join(conffiles),
        "unpacked": "".join(f"{p.files_name}\n" for p in packages),
    }
