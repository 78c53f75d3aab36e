"""From a resolution to a lock, with ecosystems that are dictionaries."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from mlruntime.ecosystems.maven.repository import LockedJars
from mlruntime.ecosystems.maven.shipped import ShippedJar, ShippedJars
from mlruntime.ecosystems.native.inputs import LoadedRecipe
from mlruntime.ecosystems.native.recipe import PatchedRelease, Recipe, UnpackedPackage
from mlruntime.ecosystems.pypi.resolver import Static, Target
from mlruntime.ecosystems.wanted import RequestedArtifact
from mlruntime.errors import (
    ArtifactNotFound,
    InvalidDefinition,
    NoCompatibleVersions,
    Unavailable,
    UsageError,
)
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact, DummyPackage, set_digest
from mlruntime.locking.absences import omissions
from mlruntime.locking.assembly import assemble, target_of
from mlruntime.locking.request import LockRequest
from mlruntime.locking.staleness import (
    stale_artifacts,
    stale_inputs,
    stale_versions,
)

BOTH = ("cpu", "gpu")
INPUTS = (("request", "sha256:1"), ("recipes", "sha256:3"))


def artifact(kind: str, name: str, version: str, note: str = "") -> Artifact:
    sha256 = f"{abs(hash((kind, name, version, note))):064x}"
    return Artifact(
        kind=kind,
        name=name,
        version=version,
        filename=f"{name}.{kind}",
        size=351_000_000 if name.startswith("nvidia-") else 1,
        sha256=sha256,
        origin={"deb": "debian", "jar": "maven"}.get(kind, "pypi"),
    )


@dataclass
class Debian:
    packages: dict[str, tuple[str, tuple[str, ...]]]
    base: tuple[str, ...] = ("apt",)

    def has(self, name: str) -> bool:
        return name in self.packages

    def closure(self, names: Iterable[str]) -> tuple[Artifact, ...]:
        ahead, found = list(names), {}
        while ahead:
            name = ahead.pop()
            if name not in self.packages:
                raise ArtifactNotFound(f"no {name}")
            version, needs = self.packages[name]
            found[name] = artifact("deb", name, version)
            ahead += [n for n in needs if n not in found]
        return tuple(found[name] for name in sorted(found))

    def package(self, name: str) -> Artifact:
        return artifact("deb", name, "1")


@dataclass
class Pypi:
    """Projects with one version each and their dependencies."""

    projects: dict[str, tuple[str, tuple[str, ...]]]
    asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)

    def compile(
        self,
        requirements: Iterable[str],
        *,
        constraints: Iterable[str] = (),
        static: Iterable[Static] = (),
    ) -> tuple[Artifact, ...]:
        self.asked.append((tuple(requirements), tuple(constraints)))
        limits = dict(c.split("==") for c in constraints)
        said = {s.name: s for s in static}
        built, ahead, found = {s for s in said if said[s].built}, list(self.asked[-1][0]), {}
        while ahead:
            name, _, pinned = (
                ahead.pop(0).replace("setuptools<81", "setuptools==80").partition("==")
            )
            if name in found:
                continue
            if name not in self.projects:
                raise ArtifactNotFound(f"the package index does not have {name}")
            newest, needs = self.projects[name]
            version = pinned.removesuffix(".*") or limits.get(name) or newest
            kind = "sdist" if name in built else "wheel"
            found[name] = artifact(kind, name, version)
            ahead += said[name].requires if name in said else needs
        return tuple(found[name] for name in sorted(found))

    def requirers(self, name: str, requirements: Iterable[str], **_: Any) -> tuple[str, ...]:
        del requirements
        return tuple(project for project, (_, needs) in self.projects.items() if name in needs)


@dataclass
class Maven:
    """Jars with one version each; one that is not shipped brings another."""

    jars: dict[str, str]
    needs: tuple[str, str] = ("aws", "bundle")

    def closure(
        self,
        wanted: Iterable[tuple[str, str]],
        shipped: Callable[[], ShippedJars],
        scala: str = "",
        *,
        excluding: Mapping[str, Iterable[str]],
    ) -> LockedJars:
        assert scala in ("", "2.12")
        found, said = [], []
        for name, version in wanted:
            if self.jars.get(name) != version:
                raise ArtifactNotFound(
                    f"the repository does not have {name}:{version}", hint="set it"
                )
            found.append(artifact("jar", name, version))
            if ":".join(self.needs) in excluding[name]:
                continue
            there = shipped().version(*self.needs)
            if there is None:
                found.append(artifact("jar", ":".join(self.needs), "2"))
            elif there != "2":
                said.append(f"{':'.join(self.needs)}: {there} is used")
        return LockedJars(artifacts=tuple(dict.fromkeys(found)), conflicts=tuple(said))


@dataclass
class World:
    """The three ecosystems."""

    debian: Debian
    pypi: Pypi
    maven: Maven
    target: Target | None = None
    inside: tuple[ShippedJar, ...] = (ShippedJar(group="aws", artifact="bundle", version="2"),)
    looked_into: list[str] = field(default_factory=list)

    def archive(self, release: str, areas: tuple[str, ...] = ("main",)) -> Debian:
        assert (release, areas) in (("12", ("main",)), ("13", ("non-free",)))
        return self.debian

    def compiler(self, target: Target, snapshot: str) -> Pypi:
        assert snapshot == "2026-11-20T00:00:00Z"
        self.target = target
        return self.pypi

    def repository(self) -> Maven:
        return self.maven

    def shipped(self, sdist: Artifact) -> tuple[ShippedJar, ...]:
        assert (sdist.kind, sdist.name) == ("sdist", "horovod")
        self.looked_into.append(sdist.version)
        return self.inside


@pytest.fixture
def world() -> World:
    return World(
        debian=Debian(
            {
                "apt": ("2.6", ("libc6",)), "libc6": ("2.36-9+deb12u14", ()),
                "python3.11": ("3.11.2-6+deb12u9", ("libc6",)), "jre": ("17", ("libc6",)),
                "tini": ("0.19", ()), "g++": ("12", ("libc6", "binutils")),
                "binutils": ("2.40", ()),
            }
        ),
        pypi=Pypi(
            {
                "tensorflow-cpu": ("2.15.1", ("numpy", "setuptools")),
                "tensorflow": ("2.15.1", ("numpy", "setuptools", "nvidia-nccl")),
                "nvidia-nccl": ("2.16", ()), "numpy": ("1.26.4", ()), "setuptools": ("84", ()),
                "horovod": ("0.28.1", ()), "psutil": ("7", ()), "cmake": ("3.31", ()),
                "scipy": ("1.17", ("numpy",)), "graphframes-py": ("0.11.0", ("numpy",)),
            }
        ),
        maven=Maven({"g:gf": "0.11.0"}),
    )  # fmt: skip


def wanted(
    component: str, origin: str, name: str, version: str, *variants: str
) -> RequestedArtifact:
    return RequestedArtifact(
        component=component, origin=origin, name=name, version=version, variants=variants or BOTH
    )


ASKED = LockRequest(
    runtime="6.0-ml",
    snapshot="2026-11-20T00:00:00Z",
    variants=("cpu",),
    versions=(
        ("debian", "12"),
        ("graphframes", "0.11.0"),
        ("horovod", "0.28.1"),
        ("nccl", "2.16"),
        ("python", "3.11"),
        ("tensorflow", "2.15.1"),
    ),
    wanted=(
        wanted("python", "debian", "python3.11", "3.11"),
        wanted("tensorflow", "pypi", "tensorflow-cpu", "2.15.1", "cpu"),
        wanted("tensorflow", "pypi", "tensorflow", "2.15.1", "gpu"),
        replace(wanted("nccl", "pypi", "nvidia-nccl", "2.16", "gpu"), pin="prefix"),
        wanted("horovod", "pypi", "horovod", "0.28.1"),
        wanted("graphframes", "pypi", "graphframes-py", "0.11.0"),
        wanted("graphframes", "maven", "g:gf", "0.11.0"),
    ),
    python=("scipy",),
    debian=("tini",),
    only=(("nccl", ("gpu",)),),
)
RECIPE = Recipe(
    name="horovod",
    link_against=("tensorflow",),
    requirements=("cmake", "setuptools<81", "psutil"),
    build_depends=("g++",),
    requires_dist=("psutil",),
    environment=(("A", "1"),),
    patched=(PatchedRelease(version="0.28.1+mlr.1", of="0.28.1", patches=("p",)),),
)


def recipes(recipe: Recipe = RECIPE) -> dict[str, LoadedRecipe]:
    return {"horovod": LoadedRecipe(recipe=recipe, files=(("p", "0" * 64),))}


def locked(world: World, asked: LockRequest = ASKED, **words: Any) -> Lock:
    return assemble(
        asked, **({"inputs": INPUTS, "recipes": recipes(), "registries": world} | words)
    )


def names(artifacts: Iterable[Artifact]) -> list[str]:
    return [a.name for a in artifacts]


def test_everything_has_its_place(world: World) -> None:
    lock = locked(world)
    assert names(lock.os) == ["apt", "libc6", "python3.11", "tini"]
    assert names(lock.build_depends) == ["binutils", "g++"]
    assert names(lock.python) == ["graphframes-py", "numpy", "psutil", "scipy", "setuptools"]
    assert names(lock.jars) == ["g:gf"]
    assert names(lock.variant("cpu").python) == ["tensorflow-cpu"]
    assert lock.components == tuple(c for c in ASKED.versions if c[0] != "nccl")
    assert lock.omitted == ()
    assert world.target == Target(python="3.11.2", glibc=(2, 36))


def test_twice_is_the_same_and_it_reads_back(world: World) -> None:
    text = locked(world).to_json()
    assert locked(world).to_json() == text
    assert parse_lock(text, file="x").to_json() == text


def test_a_native_wheel_records_all_that_its_build_uses(world: World) -> None:
    lock = locked(world)
    (wheel,) = lock.variant("cpu").native
    assert (wheel.name, wheel.version, wheel.python) == ("horovod", "0.28.1", "3.11")
    assert wheel.sdist.kind == "sdist"
    assert names(wheel.link_against) == ["tensorflow-cpu"]
    assert names(wheel.requirements) == ["cmake", "psutil", "setuptools"]
    assert wheel.environment == (("A", "1"),)
    assert wheel.patches == ()
    assert wheel.base == set_digest(lock.os)
    assert wheel.build_depends == set_digest((*lock.os, *lock.build_depends))


def test_a_patched_release_is_the_published_sdist_and_patches(world: World) -> None:
    versions = tuple((n, "0.28.1+mlr.1" if n == "horovod" else v) for n, v in ASKED.versions)
    swapped = tuple(
        replace(w, version="0.28.1+mlr.1") if w.name == "horovod" else w for w in ASKED.wanted
    )
    asked = replace(ASKED, versions=versions, wanted=swapped)
    (wheel,) = locked(world, asked).variant("cpu").native
    (published,) = locked(world).variant("cpu").native
    assert (wheel.name, wheel.version, wheel.sdist) == ("horovod", "0.28.1+mlr.1", published.sdist)
    assert wheel.patches == (("p", "0" * 64),)
    assert wheel.key != published.key


def test_build_requirements_keep_the_runtime_s_versions_where_they_may(world: World) -> None:
    locked(world)
    requirements, constraints = world.pypi.asked[-1]
    assert requirements == ("cmake", "setuptools<81", "psutil")
    assert "psutil==7" in constraints
    assert "numpy==1.26.4" in constraints
    assert not [c for c in constraints if c.startswith("setuptools")]


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        (lambda w: w.debian.packages.update({"binutils": ("2.41", ())}), True),
        (lambda w: w.debian.packages.update({"tini": ("0.20", ())}), True),
        (lambda w: w.pypi.projects.update({"cmake": ("3.32", ())}), True),
        (lambda w: w.pypi.projects.update({"psutil": ("8", ())}), True),
        (lambda w: w.pypi.projects.update({"numpy": ("1.26.5", ())}), False),
        (lambda w: w.pypi.projects.update({"scipy": ("1.18", ("numpy",))}), False),
        (lambda w: w.debian.packages.update({"jre": ("18", ())}), False),
    ],
    ids=["compiler", "system", "requirement", "shared", "import", "another wheel", "not installed"],
)
def test_a_native_key_changes_with_what_the_build_uses(
    world: World, change: Any, changed: bool
) -> None:
    before = locked(world).variant("cpu").native[0].key
    change(world)
    assert (locked(world).variant("cpu").native[0].key != before) is changed


def test_variants_share_all_but_what_the_matrix_and_the_closure_tell_apart(world: World) -> None:
    lock = locked(world, replace(ASKED, variants=BOTH))
    assert names(lock.python) == ["graphframes-py", "numpy", "psutil", "scipy", "setuptools"]
    assert names(lock.variant("cpu").python) == ["tensorflow-cpu"]
    assert names(lock.variant("gpu").python) == ["nvidia-nccl", "tensorflow"]
    cpu, gpu = (lock.variant(name).native[0] for name in BOTH)
    assert cpu.key != gpu.key
    assert locked(world).python == lock.python
    assert "nccl" not in dict(lock.components)
    assert lock.components_of("cpu") == lock.components
    assert dict(lock.components_of("gpu"))["nccl"] == "2.16"
    assert parse_lock(lock.to_json(), file="x") == lock


def test_a_difference_between_variants_that_nobody_declared_is_refused(world: World) -> None:
    world.pypi.projects["tensorflow"] = ("2.15.1", ("numpy", "nvidia-nccl", "cmake"))
    with pytest.raises(NoCompatibleVersions, match=r"cmake: cpu none, gpu 3\.31") as refused:
        locked(world, replace(ASKED, variants=BOTH))
    assert "does not declare" in refused.value.what


def test_later_variants_are_held_to_the_versions_of_the_first(world: World) -> None:
    locked(world, replace(ASKED, variants=BOTH))
    _, constraints = world.pypi.asked[-2]  # the last is what Horovod's build asks for
    assert "numpy==1.26.4" in constraints
    assert not [c for c in constraints if c.startswith(("tensorflow", "nvidia"))]


GPU = replace(
    RECIPE,
    link_against=("nvidia-nccl",),
    requirements=("setuptools",),
    environment=(("A", "2"), ("B", "1")),
    patched=(PatchedRelease(version="0.28.1+mlr.1", of="0.28.1", patches=("q",)),),
    build_depends_unpacked=(UnpackedPackage(package="nvcc", release="13", area="non-free"),),
    prepare="cuda.sh",
)


def test_a_variant_of_a_recipe_adds_to_it_and_changes_no_other(world: World) -> None:
    files = (("p", "0" * 64), ("q", "1" * 64), ("cuda.sh", "2" * 64))
    both = replace(RECIPE, variants=(("gpu", GPU),))
    loaded = {"horovod": LoadedRecipe(recipe=both, files=files)}
    patched = replace(
        ASKED,
        variants=BOTH,
        wanted=tuple(
            replace(w, version="0.28.1+mlr.1") if w.name == "horovod" else w for w in ASKED.wanted
        ),
    )
    lock = locked(world, patched, recipes=loaded)
    cpu, gpu = (lock.variant(name).native[0] for name in BOTH)
    plain = locked(world, replace(patched, variants=("cpu",)), recipes=recipes())
    assert cpu.key == plain.variant("cpu").native[0].key
    assert names(gpu.link_against) == ["nvidia-nccl", "tensorflow"]
    assert gpu.environment == (("A", "2"), ("B", "1"))
    assert gpu.patches == (("p", "0" * 64), ("q", "1" * 64))
    assert names(gpu.build_depends_unpacked) == ["nvcc"]
    assert gpu.prepare == ("cuda.sh", "2" * 64)
    assert parse_lock(lock.to_json(), file="x") == lock
    assert gpu.key != replace(gpu, prepare=("cuda.sh", "3" * 64)).key
    assert gpu.key != replace(gpu, build_depends_unpacked=()).key


STANDING_IN = replace(
    ASKED,
    wanted=tuple(
        replace(w, provides=("tensorflow",)) if w.name == "tensorflow-cpu" else w
        for w in ASKED.wanted
    ),
)


def test_what_another_package_is_by_another_name_is_not_installed(world: World) -> None:
    world.pypi.projects["scipy"] = ("1.17", ("numpy", "tensorflow"))
    assert "tensorflow" in names(locked(world).variant("cpu").python)  # would overwrite the other
    lock = locked(world, STANDING_IN)
    dummy = DummyPackage(name="tensorflow", version="2.15.1", by="tensorflow-cpu")
    assert lock.variant("cpu").dummy_packages == (dummy,)
    everything = names([*lock.python, *lock.variant("cpu").python])
    assert "tensorflow-cpu" in everything
    assert not {"tensorflow", "nvidia-nccl"} & {*everything}
    assert parse_lock(lock.to_json(), file="x") == lock


def test_what_requires_it_has_a_say_in_its_version(world: World) -> None:
    world.pypi.projects["scipy"] = ("1.17", ("tensorflow",))
    locked(world, STANDING_IN)
    assert ("tensorflow==2.15.1",) in [limits for _, limits in world.pypi.asked]


def test_a_dummy_package_is_there_for_what_users_install(world: World) -> None:
    """Nothing in the lock requires it, but tensorflow-hub, say, would bring TensorFlow itself."""
    lock = locked(world, STANDING_IN)
    assert [one.name for one in lock.variant("cpu").dummy_packages] == ["tensorflow"]
    assert lock.variant("cpu").python == locked(world).variant("cpu").python


def test_a_recipe_without_build_depends_needs_only_the_system(world: World) -> None:
    lock = locked(world, recipes=recipes(replace(RECIPE, build_depends=())))
    (wheel,) = lock.variant("cpu").native
    assert lock.build_depends == ()
    assert wheel.build_depends == wheel.base == set_digest(lock.os)


def test_a_missing_jar_offers_to_leave_the_component_out(world: World) -> None:
    world.maven.jars = {}
    with pytest.raises(ArtifactNotFound) as caught:
        locked(world)
    assert str(caught.value) == (
        "graphframes: the repository does not have g:gf:0.11.0\n"
        "  try: set it; or leave graphframes out with"
        " `mlruntime lock 6.0-ml --omit-unavailable graphframes`"
    )
    assert caught.value.exit_code == 6


def test_jars_bring_what_the_runtime_s_own_sdists_do_not_have(world: World) -> None:
    """Spark's jars are in PySpark's source distribution; an older one there is told."""
    said: list[str] = []
    assert names(locked(world, say=said.append).jars) == ["g:gf"]
    assert world.looked_into == ["0.28.1"]
    assert not [line for line in said if "is used" in line]
    world.inside = (ShippedJar(group="", artifact="bundle", version="1"),)
    assert names(locked(world, say=said.append).jars) == ["g:gf"]
    assert "Maven: aws:bundle: 1 is used" in said
    world.inside = (ShippedJar(group="other", artifact="bundle", version="2"),)
    assert names(locked(world).jars) == ["g:gf", "aws:bundle"]


def test_a_large_cuda_library_in_a_cpu_variant_is_told_with_who_requires_it(
    world: World,
) -> None:
    """As xgboost's NCCL, half of what has to be pulled."""
    world.pypi.projects["scipy"] = ("1.17", ("numpy", "nvidia-nccl"))
    said: list[str] = []
    assert "nvidia-nccl" in names(locked(world, say=said.append).variants[0].python)
    assert [line for line in said if "for GPUs" in line] == [
        "Python, cpu: nvidia-nccl 2.16 is for GPUs, and adds 351 MB to this image; it is required"
        " by tensorflow and scipy"
    ]
    world.pypi.projects["scipy"] = ("1.17", ("numpy",))
    said.clear()
    locked(world, say=said.append)
    assert not [line for line in said if "for GPUs" in line]


def test_an_omission_takes_the_whole_component_and_says_why(world: World) -> None:
    world.maven.jars = {}
    lock = locked(world, omit=["graphframes"])
    (omission,) = lock.omitted
    assert (omission.component, omission.artifact) == ("graphframes", "maven:g:gf:0.11.0")
    assert omission.why == "the repository does not have g:gf:0.11.0"
    assert "graphframes" not in dict(lock.components)
    assert "graphframes-py" not in names(lock.python)
    assert lock.jars == ()


@pytest.mark.parametrize("missing", ["maven", "pypi", "debian"])
def test_any_ecosystem_may_lack_it(world: World, missing: str) -> None:
    asked = replace(ASKED, wanted=(*ASKED.wanted, wanted("graphframes", "debian", "jre", "17")))
    if missing == "maven":
        world.maven.jars = {}
    elif missing == "pypi":
        del world.pypi.projects["graphframes-py"]
    else:
        del world.debian.packages["jre"]
        with pytest.raises(
            ArtifactNotFound, match="graphframes: the Debian archive does not have jre"
        ):
            locked(world, asked)
    lock = locked(world, asked, omit=["graphframes"])
    assert lock.omitted[0].artifact.startswith(f"{missing}:")
    assert "jre" not in names(lock.os)


def test_what_is_there_is_never_left_out(world: World) -> None:
    assert locked(world, omit=["graphframes"]) == locked(world)


def test_only_components_with_artifacts_can_be_left_out(world: World) -> None:
    with pytest.raises(UsageError, match="'graphframe' is not a component"):
        locked(world, omit=["graphframe"])


def test_a_component_whose_origin_knows_no_single_artifact_cannot_be_left_out() -> None:
    """Conda's packages are solved together: that one is missing shows only then."""
    asked = replace(ASKED, wanted=(wanted("tensorflow", "conda", "tensorflow", "2.15.1"),))
    with pytest.raises(UsageError, match="tensorflow cannot be left out: it comes from conda"):
        omissions(asked, ["tensorflow"], {})


def test_a_recipe_against_nothing_that_is_there(world: World) -> None:
    strange = replace(RECIPE, link_against=("spark",))
    with pytest.raises(InvalidDefinition, match="horovod is built against 'spark'") as caught:
        locked(world, recipes=recipes(strange))
    assert caught.value.hint == "components with wheels: graphframes, horovod, tensorflow"


def test_a_system_without_python_is_refused() -> None:
    with pytest.raises(InvalidDefinition, match="no Python interpreter"):
        target_of([artifact("deb", "libc6", "2.36-9")])


def test_stale_inputs_versions_and_artifacts_are_told(world: World) -> None:
    lock = locked(world)
    assert stale_inputs(lock, INPUTS) == ()
    changed = (("request", "sha256:9"), ("recipes", "sha256:9"))
    assert stale_inputs(lock, changed) == (
        "what runtime.yaml and matrix.yaml ask for has changed since",
        "a recipe, patch or script under images/ has changed since",
    )

    versions = dict(lock.components)
    assert stale_versions(lock, versions) == ()
    del versions["horovod"]
    assert stale_versions(lock, versions | {"tensorflow": "2.15.2", "spark": "3.5.9"}) == (
        "horovod 0.28.1 locked, but not asked for any more",
        "spark 3.5.9 resolved, but not locked",
        "tensorflow 2.15.1 locked, 2.15.2 resolved",
    )

    world.debian.packages |= {"tini": ("0.20", ("jre",))}
    world.pypi.projects["scipy"] = ("1.17", ())
    assert stale_artifacts(lock, lock) == ()
    assert stale_artifacts(lock, locked(world)) == (
        "os: jre 17 needed, not locked",
        "os: tini 0.19 locked, 0.20 to be had",
    )


def test_what_is_there_in_a_version_of_its_own_is_not_left_out(world: World) -> None:
    world.pypi.projects["nvidia-nccl"] = ("2.16.5", ())
    asked = replace(ASKED, variants=("gpu",))
    assert locked(world, asked, omit=["nccl"]).omitted == ()
    assert ("nvidia-nccl==2.16.*",) in [requirements for requirements, _ in world.pypi.asked]


def test_an_index_that_cannot_tell_is_no_reason_to_leave_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undated(*_: object, **__: object) -> tuple[Artifact, ...]:
        raise Unavailable("the index gives no upload times")

    monkeypatch.setattr(world.pypi, "compile", undated)
    with pytest.raises(Unavailable, match="gives no upload times"):
        locked(world, omit=["graphframes"])


def test_an_omitted_component_is_not_stale_for_being_left_out(world: World) -> None:
    world.maven.jars = {}
    lock = locked(world, omit=["graphframes"])
    assert stale_versions(lock, ASKED.present) == ()


def test_another_tensorflow_is_another_horovod(world: World) -> None:
    older = (
        replace(w, version="2.15.0") if w.component == "tensorflow" else w for w in ASKED.wanted
    )
    keys = {
        locked(world, asked).variant("cpu").native[0].key
        for asked in (ASKED, replace(ASKED, wanted=tuple(older)))
    }
    assert len(keys) == 2
