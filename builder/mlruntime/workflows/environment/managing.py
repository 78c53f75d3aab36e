"""From a lock to an environment on this host, and what is done with one afterwards."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from msgspec import structs

from mlruntime.definitions.files import Definitions
from mlruntime.ecosystems.native import build as native
from mlruntime.ecosystems.place import Place
from mlruntime.ecosystems.pypi import ORIGIN as PYPI
from mlruntime.environment.contents import contents
from mlruntime.environment.creation import Order, beside, create, pieces, write_personal
from mlruntime.environment.description import (
    FORMAT,
    Description,
    is_environment,
    read_description,
    read_files,
    read_lock_of,
    write_description,
)
from mlruntime.environment.glibc import newest
from mlruntime.environment.host import refuse_host, refuse_target
from mlruntime.environment.interpreter import Interpreter, conda_interpreter, find_interpreter
from mlruntime.environment.layout import place
from mlruntime.environment.linking import Linker
from mlruntime.environment.materials import Materials, materials
from mlruntime.environment.packing import extract, without_scripts
from mlruntime.environment.repairing import repair
from mlruntime.environment.settings import Variables, variables
from mlruntime.environment.trees import Tree, kept_tree, unpacked
from mlruntime.environment.using import changing
from mlruntime.environment.verification import differences
from mlruntime.errors import HashMismatch, InvalidLock, Unavailable
from mlruntime.fetch.locating import last_seen
from mlruntime.host.system import System
from mlruntime.image.plan import Plan
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact, NativeWheel
from mlruntime.store.store import Store, storage_errors
from mlruntime.workflows.environment.known import remember_environment
from mlruntime.workflows.host import Host
from mlruntime.workflows.planning import planned_image


@dataclass(frozen=True, kw_only=True, slots=True)
class Requested:
    """What an environment is wanted of: a lock's variant, and a Python if one is named."""

    lock: Lock
    variant: str
    python: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """All that is known of an environment before anything of it is written."""

    plan: Plan
    materials: Materials
    variables: Variables


def create_environment(
    definitions: Definitions,
    requested: Requested,
    target: Path,
    host: Host,
    environ: Mapping[str, str],
    *,
    remember: bool = True,
) -> Description:
    """Make an environment at ``target``; all of it or nothing. ``remember`` it for ``env list``.

    Nothing is downloaded before the place, this host and its Python have been found good. Raises
    ``Unavailable`` for what this host lacks, ``UsageError`` for a path that will not do.
    """
    refuse_target(target, is_environment=is_environment(target))
    system = System.here()
    refuse_host(system, "0")
    plan = planned_image(definitions, requested.lock, requested.variant)
    interpreter = conda_interpreter(
        requested.lock, requested.variant, target, given=requested.python
    ) or find_interpreter(plan.python, environ, home=Path.home(), given=requested.python)
    host.say(f"Python {interpreter.version}: {interpreter.executable}")
    with host.store.shared():
        prepared = prepare(plan, requested.lock, host, target, accept=partial(refuse_host, system))
        order = order_of(prepared, requested, target, interpreter)
        made = create(order, target, Linker())
        if remember:
            remember_environment(host, target)
    return made


def repair_environment(
    definitions: Definitions, root: Path, host: Host, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Put an environment right again; return the paths that were not as they were made.

    One whose change was interrupted becomes what its lock says. Raises ``InvalidLock`` if these
    definitions do not make it any more.
    """
    with changing(root, host.say):
        return _repaired(definitions, root, host, environ)


def _repaired(
    definitions: Definitions, root: Path, host: Host, environ: Mapping[str, str]
) -> tuple[str, ...]:
    found = read_description(root)
    lock = read_lock_of(root)
    plan = planned_image(definitions, lock, found.variant)
    # With another lock, a change was interrupted: then the description is of another plan.
    if plan.digest != found.plan and lock.digest == found.lock:
        raise InvalidLock(
            f"these definitions make another {found.runtime} than they did for this environment",
            where=str(root),
            why="its files come from other versions of images/ or of mlruntime",
            hint=f"make it anew: `mlruntime env create {found.runtime} PATH`",
        )
    interpreter = same_or_another(found, plan, environ)
    with host.store.shared():
        requested = Requested(lock=lock, variant=found.variant)
        order = order_of(prepare(plan, lock, host, root), requested, root, interpreter)
        order = replace(order, description=structs.replace(order.description, made=found.made))
        listed = [piece.entry for piece in pieces(order)]
        damaged = differences(root, listed).damaged
        repair(root, order, damaged, Linker())
        remember_environment(host, root)
    return damaged


def unpack_environment(
    archive: Path, target: Path, host: Host, environ: Mapping[str, str]
) -> Description:
    """Make an environment of an archive, all of it or nothing; neither network nor store is used.

    Raises ``HashMismatch`` if a file is not the one that was packed.
    """
    refuse_target(target, is_environment=is_environment(target))
    with storage_errors(target.parent, instead="name another path"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with beside(target) as folder:
            root = extract(archive, folder)
            found = read_description(root)
            refuse_host(System.here(), found.glibc)
            interpreter = find_interpreter(found.minor, environ, home=Path.home())
            if damaged := differences(root, read_files(root)).damaged:
                raise HashMismatch(
                    f"{len(damaged)} files are not what was packed, such as {damaged[0]}",
                    where=str(archive),
                    hint="copy the archive again",
                )
            without_scripts(root)
            write_personal(root, target, interpreter, found.relative)
            made = structs.replace(
                found,
                path=str(target),
                python=interpreter.version,
                interpreter=str(interpreter.executable),
            )
            write_description(root, made)
            root.rename(target)
    remember_environment(host, target)
    return made


def same_or_another(found: Description, plan: Plan, environ: Mapping[str, str]) -> Interpreter:
    """Return the Python that an environment was made with, another one if that is gone."""
    try:
        given = Path(found.interpreter)
        return find_interpreter(plan.python, environ, home=Path.home(), given=given)
    except Unavailable:
        return find_interpreter(plan.python, environ, home=Path.home())


def prepare(
    plan: Plan,
    lock: Lock,
    host: Host,
    root: Path | None = None,
    *,
    accept: Callable[[str], None] = lambda _: None,
) -> Prepared:
    """Fetch and unpack what the store lacks; the caller keeps the store from being pruned.

    ``root`` is where the environment will be, an absolute path. ``accept`` hears which glibc is
    needed, first when only what is compiled here and Debian's few packages have been unpacked: it
    may refuse this host before a gigabyte is fetched.
    """
    wanted = contents(plan, lock)
    compiled = [compiled_wheel(host.store, lock, wheel) for wheel in wanted.native]
    where = place(wanted.python, str(root or "/"))
    files = {artifact.sha256: path for artifact, path in compiled}
    made_here = tuple(artifact for artifact, _ in compiled)
    few = _trees((*made_here, *wanted.system), files, lock, host, where)
    accept(newest(tree.glibc for tree in few.values()))
    packages = (*wanted.conda, *wanted.wheels, *made_here, *wanted.jars, *wanted.packages)
    trees = few | _trees([a for a in packages if a not in few], files, lock, host, where)
    made = materials(wanted, [trees[a] for a in packages], [trees[a] for a in wanted.system])
    accept(made.glibc)
    return Prepared(plan=plan, materials=made, variables=variables(plan.config, made.libraries))


def _trees(
    artifacts: Iterable[Artifact],
    files: Mapping[str, Path],
    lock: Lock,
    host: Host,
    where: Place,
) -> dict[Artifact, Tree]:
    """Return artifacts as they are unpacked, fetching those that the store lacks.

    ``files`` are those that no registry has.
    """
    wanted = tuple(artifacts)
    trees = {a: tree for a in wanted if (tree := kept_tree(host.store, a, where))}
    missing = [a for a in wanted if a not in trees]
    fetched: Mapping[str, Path] = {}
    if unknown := [a for a in missing if a.sha256 not in files]:
        with last_seen(lock):
            fetched = host.fetch(unknown)
    for artifact in missing:
        path = files.get(artifact.sha256) or fetched[artifact.sha256]
        trees[artifact] = unpacked(host.store, artifact, path, where)
    return trees


def compiled_wheel(store: Store, lock: Lock, wheel: NativeWheel) -> tuple[Artifact, Path]:
    """Return a wheel that the store has; compiling one takes a container."""
    found = native.built(store, wheel)
    if found is None:
        raise Unavailable(
            f"{wheel.name} {wheel.version} has not been compiled yet",
            why="no registry has this wheel: a build compiles it, in a container",
            hint=f"`mlruntime build {lock.runtime}` where there is a container engine; or there"
            " `mlruntime store export`, and here `mlruntime store import`",
        )
    artifact = Artifact(
        kind="wheel",
        name=wheel.name,
        version=wheel.version,
        filename=found.filename,
        size=found.path.stat().st_size,
        sha256=found.sha256,
        origin=PYPI,
    )
    return artifact, found.path


def order_of(
    prepared: Prepared, requested: Requested, target: Path, interpreter: Interpreter
) -> Order:
    """Return all that an environment at ``target`` is made of."""
    return Order(
        materials=prepared.materials,
        interpreter=interpreter,
        variables=prepared.variables,
        lock=requested.lock.to_json(),
        description=_description(prepared, requested, target, interpreter),
    )


def _description(
    prepared: Prepared, requested: Requested, target: Path, interpreter: Interpreter
) -> Description:
    return Description(
        format=FORMAT,
        runtime=requested.lock.runtime,
        variant=requested.variant,
        lock=requested.lock.digest,
        plan=prepared.plan.digest,
        python=interpreter.version,
        interpreter=str(interpreter.executable),
        path=str(target),
        glibc=prepared.materials.glibc,
        made={},
        variables=dict(prepared.variables.set),
        folders={name: list(parts) for name, parts in prepared.variables.extended.items()},
    )
