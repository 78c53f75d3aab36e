"""The patches of images/horovod: complete headers, and an order in which they apply."""

import io
import re
import tarfile
from pathlib import Path

import pytest
from mlruntime.ecosystems.native.inputs import load_recipes
from mlruntime.ecosystems.native.patching import apply_patch, parse_patch
from mlruntime.ecosystems.native.recipe import PatchedRelease
from mlruntime.ecosystems.native.sdist import patched
from mlruntime.lock.document import parse_lock
from mlruntime.lock.packages import Artifact
from mlruntime.matrix.model import VARIANTS
from mlruntime.store.store import Store
from mlruntime.workflows.store.stores import store_root

CHECKOUT = Path(__file__).parents[3]
FOLDER = CHECKOUT / "images/horovod"
LOADED = load_recipes(CHECKOUT / "images")["horovod"]
HEADER = re.compile(
    r"Subject: (?P<subject>\S.+)\n\nBroke:  \S[^\0]+\nSince:  (?P<since>\S[^\0]*)\n"
    r"Tested: (?P<tested>\S[^\0]+)\n\n\Z"
)


def locked_sdist(version: str) -> Artifact:
    """Return the sdist of a published release from whichever lock has it."""
    for path in sorted((CHECKOUT / "runtimes").glob("*/lock.json")):
        lock = parse_lock(path.read_text(encoding="utf-8"), file=str(path))
        for variant in lock.variants:
            for wheel in variant.native:
                if wheel.name == "horovod" and wheel.sdist.version == version:
                    return wheel.sdist
    raise AssertionError(f"no lock has the sdist of Horovod {version}")


def test_every_patch_is_used_and_every_release_is_in_the_matrix() -> None:
    assert {path.name for path in FOLDER.glob("*.patch")} == set(LOADED.recipe.patches)
    matrix = (CHECKOUT / "matrix.yaml").read_text(encoding="utf-8")
    for release in LOADED.recipe.patched:
        assert f'"{release.version}"' in matrix


@pytest.mark.parametrize("name", LOADED.recipe.patches)
def test_a_patch_says_what_broke_since_when_and_how_it_was_tested(name: str) -> None:
    header = parse_patch((FOLDER / name).read_text(encoding="utf-8")).header
    assert HEADER.match(header), header
    assert all(len(line) <= 100 for line in header.splitlines())


@pytest.mark.artifacts
@pytest.mark.parametrize(
    ("variant", "found"),
    [(variant, release) for variant in VARIANTS for release in LOADED.recipe.of(variant).patched],
)
def test_the_patches_apply_to_the_locked_sdist_in_order(
    variant: str, found: PatchedRelease
) -> None:
    sdist = locked_sdist(found.of)
    path = Store(store_root()).blob(sdist.sha256)
    if path is None:
        pytest.skip(f"not run: the store does not have {sdist.filename}; `mlruntime build` gets it")
    patches = {name: (FOLDER / name).read_bytes() for name in found.patches}
    said: list[str] = []
    done = patched(path.read_bytes(), patches, said.append)
    assert [line.partition(":")[0] for line in said] == list(found.patches)
    told = files_of(done)["horovod/__init__.py"]
    assert f"__version__ = '{found.version}'" in told
    # One patch for one cause: each leaves Python that can be read.
    files = files_of(path.read_bytes())
    for name in found.patches:
        changed = apply_patch(parse_patch(patches[name].decode()), files)
        files |= changed
        for file, text in changed.items():
            if file.endswith(".py"):
                compile(text, f"{name}: {file}", "exec")
    assert {name: text for name, text in files_of(done).items() if files[name] != text} == {}


def files_of(sdist: bytes) -> dict[str, str]:
    """Return the text files of an sdist by their path below its top folder."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(sdist)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is not None:
                path = member.name.partition("/")[2]
                found[path] = content.read().decode("utf-8", errors="surrogateescape")
    return found
