"""Native wheels: built once per recipe key, in a container without network, kept in the store."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from mlruntime.ecosystems.debian.flat import write_repository
from mlruntime.ecosystems.native.patching import DoesNotApply
from mlruntime.ecosystems.native.sdist import DamagedSdist, patched
from mlruntime.ecosystems.pypi.stored import StoredWheel
from mlruntime.engine import Container, RunResult, Runs
from mlruntime.engine.archives import packed, save_files
from mlruntime.errors import CommandFailed, InvalidLock
from mlruntime.layers.writer import MTIME
from mlruntime.lock.packages import Artifact, NativeWheel
from mlruntime.store.store import Store, file_sha256

_KIND: Final = "native"
_SECONDS: Final = 3600
# Paths are fixed, because compilers write them into their output.
_SCRIPT: Final = """\
set -eu
if [ -e /mlr/debs/Packages ]; then
    echo 'deb [trusted=yes] copy:/mlr/debs ./' > /etc/apt/sources.list
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $MLR_TOOLCHAIN
fi
python -m pip install -q --no-index --no-deps --no-compile --target /build/requirements \
    /mlr/requirements/*.whl
mkdir /build/source
tar -xf /mlr/sdist/* --strip-components=1 --no-same-owner -C /build/source
cd /build/source
export PYTHONPATH=/build/requirements PATH="/build/requirements/bin:$PATH"
python -m pip wheel -v --no-index --no-build-isolation --no-deps --wheel-dir /build/wheel .
cp /build/wheel/*.whl /mlr/out/
"""


# They are there even when they are empty.
_FOLDERS: Final = ("mlr/out", "mlr/requirements", "mlr/debs")
# Goes before the last two lines of the script where a recipe has something to prepare.
_PREPARE: Final = """\
for package in /mlr/unpacked/*.deb; do
    [ ! -e "$package" ] || dpkg-deb -x "$package" /build/unpacked
done
[ ! -e /mlr/prepare ] || sh /mlr/prepare
"""


def _script(native: NativeWheel) -> str:
    if not (native.build_depends_unpacked or native.prepare):
        return _SCRIPT
    before, build, after = _SCRIPT.rpartition("python -m pip wheel")
    return before + _PREPARE + build + after


def recipe(native: NativeWheel) -> str:
    """Return the digest of how a wheel is built: it belongs to what identifies the result."""
    return hashlib.sha256(_script(native).encode()).hexdigest()


def record_key(native: NativeWheel) -> str:
    """Return what the store knows a built wheel by: its recipe key and how we build."""
    return hashlib.sha256(f"{native.key} {recipe(native)}".encode()).hexdigest()


def built(store: Store, native: NativeWheel) -> StoredWheel | None:
    """Return the wheel for a recipe key if the store has it, whole and unchanged."""
    record = store.record(_KIND, record_key(native))
    if record is None:
        return None
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        filename, sha256 = str(found["filename"]), str(found["sha256"])
    except (ValueError, TypeError, KeyError):  # what a crash of the whole machine may leave
        return None
    path = store.blob(sha256)
    return StoredWheel(filename=filename, sha256=sha256, path=path) if path else None


def build(
    store: Store,
    engine: Runs,
    image: str,
    native: NativeWheel,
    *,
    files: Mapping[str, Path],
    build_depends: tuple[Artifact, ...],
    beside: Mapping[str, bytes],
    on_line: Callable[[str], None],
) -> StoredWheel:
    """Build one native wheel and put it into the store under its key.

    ``image`` has the runtime's other packages in ``/opt/ml``; ``files`` maps the sha256 of every
    needed artifact to its file; ``beside`` the names of the recipe's own files (patches, a script)
    to their content. Two builders with the
    same key wait for one another. Raises ``CommandFailed`` with the last lines of the build, or
    with the patch and the hunk that does not apply, and with the path of the whole log.
    """
    with store.lock(f"native-{native.key}"):
        if (done := built(store, native)) is not None:
            return done
        with store.scratch() as scratch:
            log: list[str] = []

            def both(line: str) -> None:
                log.append(line)
                on_line(line)

            _refuse_changed(native, beside)
            sdist = _source(store, native, files, beside, log)
            inside = _inside(scratch, native, files, build_depends, beside) | {
                f"mlr/sdist/{native.sdist.filename}": sdist
            }
            out = scratch / "out"
            out.mkdir()
            result, refused = _run(
                engine, image, native, inside, _environment(native, build_depends), out, both
            )
            if refused is not None:
                raise _failed(store, native, log, refused)
            wheels = sorted(out.glob("*.whl"))
            if result.exit_code != 0 or len(wheels) != 1:
                raise _failed(store, native, log, *result.tail.splitlines()[-25:])
            if not _is(native, wheels[0].name):
                raise _failed(store, native, log, f"the build made {wheels[0].name}")
            return _keep(store, native, wheels[0])


def _source(
    store: Store,
    native: NativeWheel,
    files: Mapping[str, Path],
    beside: Mapping[str, bytes],
    log: list[str],
) -> Path | bytes:
    """Return the sdist, patched; ``log`` hears of the patches."""
    try:
        return _patched(files[native.sdist.sha256], native, beside, log.append)
    except DoesNotApply as error:
        raise _failed(store, native, log, str(error)) from None
    except DamagedSdist as error:
        raise InvalidLock(
            f"{native.sdist.filename} is not a source archive",
            why=str(error),
            hint=f"lock another version of {native.name}",
        ) from None


def _run(
    engine: Runs,
    image: str,
    native: NativeWheel,
    inside: Mapping[str, Path | bytes],
    environment: Mapping[str, str],
    out: Path,
    on_line: Callable[[str], None],
) -> tuple[RunResult, str | None]:
    """Build in a container; return how it ended, and why what it left in ``out`` is no result."""
    refused: list[str] = []

    def collect(container: Container) -> None:
        try:
            save_files(container.get("/mlr/out"), out)
        except CommandFailed as error:
            refused.append(error.what)

    result = engine.run(
        image,
        ["sh", "-c", _script(native)],
        contents=(lambda: packed(inside, folders=_FOLDERS),),
        environment=environment,
        user="0:0",
        workdir="/",
        timeout=_SECONDS,
        on_line=on_line,
        on_end=collect,
    )
    return result, refused[0] if refused else None


def _patched(
    sdist: Path, native: NativeWheel, patches: Mapping[str, bytes], say: Callable[[str], None]
) -> Path | bytes:
    """Return the sdist, in its patched form if the release has patches."""
    if not native.patches:
        return sdist
    ordered = {name: patches[name] for name, _ in native.patches}
    return patched(sdist.read_bytes(), ordered, say)


def _refuse_changed(native: NativeWheel, beside: Mapping[str, bytes]) -> None:
    for name, sha256 in native.beside:
        if hashlib.sha256(beside[name]).hexdigest() != sha256:
            raise CommandFailed(f"{name} is not the locked one", hint="run `mlruntime lock` again")


def _failed(store: Store, native: NativeWheel, log: list[str], *why: str) -> CommandFailed:
    name = f"{native.name}-{native.version}-{native.key[:12]}.log"
    path = store.write_record("logs", name, "\n".join([*log, *why]) + "\n")
    return CommandFailed(
        f"{native.name} {native.version} could not be built",
        where=f"images/{native.name}/recipe.yaml",
        why="\n       ".join(why),
        hint=f"the whole log: {path}",
    )


def _is(native: NativeWheel, filename: str) -> bool:
    """Return whether a wheel says that it is the release that was asked for."""
    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return False
    return name == native.name and version == Version(native.version)


def _keep(store: Store, native: NativeWheel, wheel: Path) -> StoredWheel:
    sha256, filename = file_sha256(wheel), wheel.name
    path = store.adopt_blob(wheel, sha256)
    record = {"filename": filename, "sha256": sha256, "name": native.name}
    store.write_record(_KIND, record_key(native), json.dumps(record))
    return StoredWheel(filename=filename, sha256=sha256, path=path)


def _environment(native: NativeWheel, build_depends: tuple[Artifact, ...]) -> dict[str, str]:
    return dict(native.environment) | {
        "MLR_TOOLCHAIN": " ".join(f"{a.name}={a.version}" for a in build_depends),
        # The number of parallel compilers does not change the result.
        "MAKEFLAGS": f"-j{os.cpu_count() or 1}",
        "SOURCE_DATE_EPOCH": str(MTIME),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "LC_ALL": "C.UTF-8",
    }


def _inside(
    scratch: Path,
    native: NativeWheel,
    files: Mapping[str, Path],
    build_depends: tuple[Artifact, ...],
    beside: Mapping[str, bytes],
) -> dict[str, Path | bytes]:
    """Return what the build finds below ``/mlr``, by path, but the sdist."""
    found: dict[str, Path | bytes] = {}
    if build_depends:
        debs = scratch / "debs"
        debs.mkdir()
        write_repository(debs, [(a, files[a.sha256]) for a in build_depends])
        found |= {f"mlr/debs/{path.name}": path for path in sorted(debs.iterdir())}
    laid_out = {"requirements": native.requirements, "unpacked": native.build_depends_unpacked}
    for kind, artifacts in laid_out.items():
        found |= {f"mlr/{kind}/{a.filename}": files[a.sha256] for a in artifacts}
    if native.prepare:
        found["mlr/prepare"] = beside[native.prepare[0]]
    return found
