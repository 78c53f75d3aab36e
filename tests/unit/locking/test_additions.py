"""Packages that somebody adds: locked on top of a runtime that never moves, and kept in a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.maven.lines import JarLine, parse_jars
from mlruntime.ecosystems.maven.repository import LockedJars
from mlruntime.ecosystems.maven.shipped import ShippedJar
from mlruntime.ecosystems.pypi.requirements import parse_requirements
from mlruntime.engine import ImageInfo
from mlruntime.errors import (
    ArtifactNotFound,
    HashMismatch,
    InvalidDefinition,
    InvalidLock,
    MlruntimeError,
    NoCompatibleVersions,
    UsageError,
)
from mlruntime.image.config import FLAVOUR_LABEL, labels
from mlruntime.image.sources.jars import JarsSource
from mlruntime.image.stack import Stack, StackConfig
from mlruntime.lock.document import parse_lock
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact
from mlruntime.locking.added_jars import refuse_other_jars
from mlruntime.locking.additions import addition_name, refuse_other_versions, with_additions
from mlruntime.store.store import Store
from mlruntime.workflows import additions
from mlruntime.workflows.additions import AdditionFiles
from mlruntime.workflows.host import Host
from mlruntime.workflows.planning import with_additions as additions_to
from mlruntime.workflows.subjects import lock_of_image

from tests.unit.locking.test_flavours import FLAVOURED, flavoured
from tests.unit.locking.test_flavours import shop as shop
from tests.unit.locking.test_locking_assemble import World, locked, names, recipes
from tests.unit.locking.test_locking_assemble import world as world


@pytest.fixture
def base(shop: World) -> Lock:
    shop.pypi.projects |= {
        "polars": ("1.44", ("polars-runtime", "numpy")),
        "polars-runtime": ("1.44", ()),
        "old": ("1", ("numpy<1",)),
    }
    return flavoured(shop, locked(shop, FLAVOURED)).cut("ml")


def added(shop: World, lock: Lock, text: str, name: str = "ml-ours") -> Lock:
    lines = parse_requirements(text, file="ours.txt")
    return with_additions(lock, FLAVOURED, name, lines, recipes=recipes(), registries=shop)


def test_they_are_one_more_flavour_on_top(shop: World, base: Lock) -> None:
    lock = added(shop, base, "polars\nseaborn\n")
    assert lock.cut("ml") == base == lock.of_runtime
    assert lock.flavour == "ml-ours"
    own = lock.flavours[-1]
    assert names(own.python) == ["polars", "polars-runtime"]  # the lock has the others already
    assert own.requirements == ("polars", "seaborn")
    assert lock.digest != base.digest
    assert parse_lock(lock.to_json(), file="x") == lock
    assert dict(labels(lock, "cpu", {}))["io.mlruntime.flavour"] == "ml-ours"


def test_what_is_below_keeps_its_say(shop: World, base: Lock) -> None:
    """The flavour above `ml` is not part of it, and a newer SciPy stays out."""
    shop.pypi.projects["scipy"] = ("9", ("numpy",))
    lock = added(shop, base, "polars")
    assert lock.of_runtime == base
    assert "jupyterlab" not in lock.whole("cpu").distributions


def test_another_version_than_the_runtime_s_is_told_before_any_registry_is_asked(
    base: Lock,
) -> None:
    version = base.whole("cpu").distributions["numpy"]
    lines = parse_requirements(f"polars\nnumpy!={version}\n", file="ours.txt")
    with pytest.raises(InvalidDefinition) as caught:
        refuse_other_versions(base, lines)
    assert caught.value.where == "ours.txt:2"
    assert f"the runtime has numpy {version}" in str(caught.value)
    refuse_other_versions(base, parse_requirements(f"numpy=={version}\nnew>3", file="x"))


def test_a_package_that_cannot_go_with_the_runtime(
    shop: World, base: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise NoCompatibleVersions("conflict", why="old needs numpy<1")

    monkeypatch.setattr(shop.pypi, "compile", refuse)
    with pytest.raises(NoCompatibleVersions, match="cannot go with the packages") as caught:
        added(shop, base, "old")
    assert (caught.value.where, caught.value.why) == ("ours.txt", "old needs numpy<1")


def test_a_file_with_another_hash(shop: World, base: Lock) -> None:
    artifact = added(shop, base, "polars").flavours[-1].python[0]
    assert added(shop, base, f"polars --hash=sha256:{artifact.sha256}")
    with pytest.raises(HashMismatch, match="none of the files that are asked for"):
        added(shop, base, f"polars --hash=sha256:{'0' * 64}")


def test_a_name_that_is_taken(base: Lock) -> None:
    taken = ("core", "ml", "notebook")
    assert addition_name(base, "ours", taken) == "ml-ours"
    assert addition_name(base.cut("core"), "ours", taken) == "ours"
    for stem in ("notebook", "notebook-ours", "ml-ours"):
        with pytest.raises(UsageError, match="would read like one of another flavour"):
            addition_name(base.cut("core"), stem, taken)


@pytest.mark.parametrize(("name", "added_to"), [("ml-ours", "ml"), ("ours", "core")])
def test_an_image_s_label_says_what_was_added_to_what(
    shop: World, base: Lock, name: str, added_to: str
) -> None:
    image = ImageInfo(
        id="sha256:1", tags=(), labels={FLAVOUR_LABEL: name}, size=0, user="", environment=(),
        diff_ids=(),
    )  # fmt: skip
    asked: list[str] = []

    def put_on_top(lock: Lock) -> Lock:
        asked.append(lock.flavour)
        return added(shop, lock, "polars", name)

    assert lock_of_image(base, image, None, put_on_top).flavour == name
    assert asked == [added_to]
    with pytest.raises(UsageError, match=f"of flavour '{name}', not '{added_to}'"):
        lock_of_image(base, image, None, lambda lock: lock)
    # Nothing was added to this one: a requirements file beside it is a mistake.
    plain = replace(image, labels={FLAVOUR_LABEL: added_to})
    assert lock_of_image(base, plain, None, lambda lock: lock) == base.cut(added_to)
    with pytest.raises(UsageError, match=f"of flavour '{added_to}', not '{name}'"):
        lock_of_image(base, plain, None, put_on_top)


# The file beside the requirements file.


class Registries:
    """Opens the fake ecosystems; counts how often."""

    def __init__(self, shop: World) -> None:
        self.shop, self.opened = shop, 0

    @contextmanager
    def __call__(self) -> Iterator[World]:
        self.opened += 1
        yield self.shop


@pytest.fixture
def registries(shop: World, base: Lock, monkeypatch: pytest.MonkeyPatch) -> Registries:
    monkeypatch.setattr(additions, "lock_request", lambda *_: FLAVOURED)
    monkeypatch.setattr(additions, "load_recipes", lambda *_: recipes())
    monkeypatch.setattr(additions, "read_lock", lambda *_: base)
    return Registries(shop)


def host(registries: Registries, folder: Path, said: list[str]) -> Host:
    def never(*_: object) -> Any:
        raise AssertionError

    return Host(
        store=Store(folder / "store"),
        fetch=never,
        registries=registries,
        engine=never,
        say=said.append,
    )


def test_what_was_locked_is_read_until_it_does_not_fit(
    registries: Registries, base: Lock, tmp_path: Path
) -> None:
    file = tmp_path / "ours.txt"
    here = host(registries, tmp_path, [])
    (tmp_path / "images").mkdir()
    definitions = Definitions(tmp_path)
    file.write_text("polars\n")
    with pytest.raises(InvalidLock, match=r"is not locked for 6\.0-ml") as caught:
        additions.with_files(definitions, base, AdditionFiles(requirements=file), None)
    assert caught.value.why == "it has never been made"
    first = additions.with_files(definitions, base, AdditionFiles(requirements=file), here)
    assert (tmp_path / "ours.6.0-ml.lock.json").read_text() == first.to_json()
    assert registries.opened == 1
    file.write_text("# a comment is no change\npolars\n")
    assert additions.with_files(definitions, base, AdditionFiles(requirements=file), None) == first
    # Other lines, or another lock below: locked anew.
    file.write_text("polars\npillow\n")
    assert additions.with_files(definitions, base, AdditionFiles(requirements=file), here) != first
    additions.with_files(definitions, base.cut("core"), AdditionFiles(requirements=file), here)
    assert registries.opened == 3
    with pytest.raises(InvalidLock, match="is not locked") as caught:
        additions.with_files(definitions, base, AdditionFiles(requirements=file), None)
    assert caught.value.why == "it is for another lock or other lines"


@pytest.mark.parametrize("name", ["Ours.txt", "a b.txt", "-x.txt", "a.b.txt"])
def test_a_file_that_cannot_name_an_image(
    registries: Registries, base: Lock, name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("polars\n")
    with pytest.raises(UsageError, match="cannot name an image"):
        additions.with_files(
            Definitions(tmp_path), base, AdditionFiles(requirements=tmp_path / name), None
        )


def test_what_is_added_later_keeps_the_hashes_of_a_file(
    registries: Registries, base: Lock, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    definitions, here = Definitions(tmp_path), host(registries, tmp_path, [])
    file = tmp_path / "ours.txt"
    file.write_text("polars\n")
    made = additions.with_files(definitions, base, AdditionFiles(requirements=file), here)
    sha256 = made.flavours[-1].python[0].sha256
    line = f"polars --hash=sha256:{sha256}"
    file.write_text(f"{line}\n")
    own = additions.with_files(definitions, base, AdditionFiles(requirements=file), here)
    assert additions.with_files(definitions, base, AdditionFiles(requirements=file), None) == own
    assert own.flavours[-1].requirements == (line,)
    assert parse_lock(own.to_json(), file="x") == own
    more = additions.with_more(definitions, base, own, ["pillow"], here)
    assert more.flavours[-1].requirements == (line, "pillow")
    # The index has another file by then: it is refused, and not taken in silence.
    flavour = replace(own.flavours[-1], requirements=(f"polars --hash=sha256:{'0' * 64}",))
    with pytest.raises(HashMismatch, match="none of the files that are asked for"):
        additions.with_more(
            definitions,
            base,
            replace(own, flavours=(*own.flavours[:-1], flavour)),
            ["pillow"],
            here,
        )
    # Who asks for it again, asks anew.
    again = additions.with_more(definitions, base, own, ["polars"], here)
    assert again.flavours[-1].requirements == ("polars",)


# Jars.


def jar_lines(text: str) -> tuple[JarLine, ...]:
    return parse_jars(text, file="ours.jars")


def with_jars(shop: World, lock: Lock, text: str, lines: str = "") -> Lock:
    found = parse_requirements(lines, file="ours.txt") if lines else ()
    return with_additions(
        lock, FLAVOURED, "ml-ours", found, jar_lines(text), recipes=recipes(), registries=shop
    )


def test_jars_are_one_more_flavour_with_what_they_need(
    shop: World, base: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.maven.jars |= {"a:delta": "4"}
    shop.inside = ()
    lock = with_jars(shop, base, "a:delta:4\n", "polars")
    own = lock.flavours[-1]
    assert names(own.jars) == ["a:delta", "aws:bundle"]
    assert names(own.python) == ["polars", "polars-runtime"]
    assert own.jar_requirements == ("a:delta:4",)
    assert own.is_added
    assert lock.of_runtime == base
    assert parse_lock(lock.to_json(), file="x") == lock
    # Jars alone ask no package index.
    monkeypatch.setattr(shop.pypi, "compile", None)
    alone = with_jars(shop, base, "a:delta:4").flavours[-1]
    assert (alone.jars, alone.python, alone.requirements) == (own.jars, (), ())


def test_their_layer_is_beside_spark_s_jars(shop: World, base: Lock) -> None:
    shop.maven.jars |= {"g:delta": "4"}
    stack = Stack(
        layers=(JarsSource(name="jars", into="{{ site_packages }}/x/jars"),),
        config=StackConfig(user="1", workdir="/", entrypoint=(), command=(), environment=()),
    )
    both = additions_to(stack, with_jars(shop, base, "g:delta:4", "polars")).layers
    assert [(type(x).__name__, x.name, x.flavour) for x in both[1:]] == [
        ("PythonSource", "ml-ours", "ml-ours"),
        ("FilesSource", "ml-ours-constraints", "ml-ours"),
        ("JarsSource", "ml-ours-jars", "ml-ours"),
    ]
    (alone,) = additions_to(stack, with_jars(shop, base, "g:delta:4")).layers[1:]
    assert alone == JarsSource(
        name="ml-ours-jars", flavour="ml-ours", into="{{ site_packages }}/x/jars"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("g:delta_2.13:4", "is for Scala 2.13, and Spark's jars here are for Scala 2.12"),
        ("org.apache.spark:spark-avro_2.12:4.0.1", "is a part of Spark 4.0.1"),
        ("g:locked:2", "is not the locked of"),
    ],
)
def test_what_the_lock_tells_needs_no_registry(base: Lock, line: str, said: str) -> None:
    jar = Artifact(
        kind="jar", name="g:locked", version="1", filename="locked-1.jar", size=1,
        sha256="0" * 64, origin="maven",
    )  # fmt: skip
    versions = (*base.components, ("scala", "2.12"), ("spark", "3.5.8"))
    lock = replace(base, jars=(*base.jars, jar), components=versions)
    with pytest.raises(MlruntimeError) as caught:
        refuse_other_jars(lock, jar_lines(f"g:fine:1\n{line}\n"))
    assert said in caught.value.what
    assert caught.value.where == "ours.jars:2"
    refuse_other_jars(lock, jar_lines("g:locked:1"))


def test_what_spark_has_is_not_added_and_never_moved(shop: World, base: Lock) -> None:
    shop.inside = (
        ShippedJar(group="", artifact="guava", version="33"),
        ShippedJar(group="org.apache.hadoop", artifact="hadoop-client-api", version="3.4.2"),
    )
    assert with_jars(shop, base, "com.google:guava:33").flavours[-1].jars == ()
    with pytest.raises(InvalidDefinition, match="is not the guava of") as caught:
        with_jars(shop, base, "com.google:guava:34")
    assert caught.value.why == "the runtime has 33, and what is added never moves it"
    with pytest.raises(NoCompatibleVersions, match=r"is a part of Hadoop 3\.4\.1") as told:
        with_jars(shop, base, "org.apache.hadoop:hadoop-aws:3.4.1")
    assert told.value.hint == "write org.apache.hadoop:hadoop-aws:3.4.2"


def test_files_of_one_name_and_jars_that_are_nowhere(
    shop: World, base: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.maven.jars |= {"g:delta": "4", "h:delta": "4"}
    closure = shop.maven.closure

    def named(*words: Any, **options: Any) -> LockedJars:
        found = closure(*words, **options).artifacts
        return LockedJars(artifacts=tuple(replace(jar, filename="delta-4.jar") for jar in found))

    with monkeypatch.context() as patch:
        patch.setattr(shop.maven, "closure", named)
        with pytest.raises(
            NoCompatibleVersions, match="h:delta and g:delta have files of the same"
        ):
            with_jars(shop, base, "g:delta:4\nh:delta:4")
        shop.inside = (*shop.inside, ShippedJar(group="i", artifact="delta", version="4"))
        with pytest.raises(NoCompatibleVersions, match="g:delta and i:delta of Spark have files"):
            with_jars(shop, base, "g:delta:4")
    with pytest.raises(ArtifactNotFound) as caught:
        with_jars(shop, base, "g:delta:4\ng:other:1")
    assert caught.value.where == "ours.jars:2"


def test_both_files_have_one_lock(
    registries: Registries, shop: World, base: Lock, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    shop.maven.jars |= {"g:delta": "4"}
    definitions, here = Definitions(tmp_path), host(registries, tmp_path, [])
    text, jars, lake = (tmp_path / name for name in ("ours.txt", "ours.jars", "lake.jars"))
    text.write_text("polars\n")
    jars.write_text("g:delta:4\n")
    lake.write_text("g:delta:4\n")
    both = AdditionFiles(requirements=text, jars=jars)
    lock = additions.with_files(definitions, base, both, here)
    assert lock.flavour == "ml-ours"
    assert additions.with_files(definitions, base, both, None) == lock
    assert (tmp_path / "ours.6.0-ml.lock.json").read_text() == lock.to_json()
    other = additions.with_files(
        definitions, base, AdditionFiles(requirements=text, jars=lake), here
    )
    assert other.flavour == "ml-ours-lake"
    alone = additions.with_files(definitions, base, AdditionFiles(jars=lake), here)
    assert (alone.flavour, alone.flavours[-1].requirements) == ("ml-lake", ())
    more = additions.with_more(definitions, base, alone, ["pillow"], here)
    assert more.flavours[-1].jar_requirements == ("g:delta:4",)
    lake.write_text("g:delta:4\ng:more:1\n")
    with pytest.raises(InvalidLock, match="is not locked") as caught:
        additions.with_files(definitions, base, AdditionFiles(jars=lake), None)
    assert f"--with-jars {lake}" in str(caught.value.hint)
