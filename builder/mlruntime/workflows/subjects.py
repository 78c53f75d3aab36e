"""What is validated: a runtime's image as it is described now, or any image that has our labels."""

from collections.abc import Callable
from pathlib import Path

from mlruntime.definitions.files import Definitions
from mlruntime.documents.reading import did_you_mean
from mlruntime.engine import ImageInfo, Images
from mlruntime.errors import InvalidLock, UsageError
from mlruntime.image.config import FLAVOUR_LABEL, LABEL, PLAN_LABEL
from mlruntime.image.difference import DEFAULT_VARIANT
from mlruntime.image.image import load, manifest_of
from mlruntime.image.layout import LayoutBlobs, is_layout, read_layout
from mlruntime.lock.model import CORE, Lock, flavour_below
from mlruntime.store.store import Store
from mlruntime.validation.session import Subject
from mlruntime.workflows.build import reference as named
from mlruntime.workflows.gpus import supply
from mlruntime.workflows.locked import fresh_lock, libraries, read_lock
from mlruntime.workflows.planning import planned_image
from mlruntime.workflows.store.stores import store_root


def find_subject(
    engine: Images,
    definitions: Definitions,
    subject: str,
    variant: str | None,
    workers: int,
    flavour: str | None = None,
    added: Callable[[Lock], Lock] = lambda lock: lock,
) -> Subject:
    """Return what to validate: a runtime's image as it is described now, or any image.

    A runtime's lock must follow from its inputs, as for building, and its image must have been
    built by the plan that follows from the lock and from ``images/`` now.

    A directory is an OCI layout, ``DIRECTORY:NAME`` one image of several in it: every byte of it
    is checked before it is loaded.

    ``added`` puts what a requirements file adds on top of the runtime's lock.

    Any other image says by its labels which runtime and variant it is; where it differs from
    that runtime's lock, the checks fail.
    """
    known = definitions.runtimes()
    if subject in known:
        lock = added(fresh_lock(definitions, subject).cut(flavour or CORE))
        return _of_runtime(engine, definitions, lock, variant or DEFAULT_VARIANT, workers)
    if (layout := _layout(subject)) is not None:
        subject = _from_layout(engine, *layout)
    image = engine.image(subject)
    if image is None:
        raise UsageError(
            f"{subject!r} is neither a runtime nor an image of the engine",
            hint=did_you_mean(subject, known),
        )
    runtime = image.labels.get(f"{LABEL}.runtime")
    if runtime is None:
        raise UsageError(f"{subject} was not built by mlruntime: it has no label {LABEL}.runtime")
    lock = lock_of_image(read_lock(definitions, runtime), image, flavour, added)
    variant = variant or image.labels.get(f"{LABEL}.variant", DEFAULT_VARIANT)
    lock.variant(variant)
    return _subject(definitions, image.id, lock, variant, workers)


def lock_of_image(
    lock: Lock, image: ImageInfo, flavour: str | None, added: Callable[[Lock], Lock]
) -> Lock:
    """Return the lock of the flavour that an image's label names, with what was added to it.

    Raises ``UsageError`` if the label names another than ``added`` makes.
    """
    if flavour is not None:
        return added(lock.cut(flavour))
    labelled = image.labels.get(FLAVOUR_LABEL, CORE)
    base = flavour_below(labelled, lock.flavour_names)
    found = added(lock.cut(base))
    if found.flavour != labelled:
        raise UsageError(
            f"the image is of flavour {labelled!r}, not {found.flavour!r}",
            hint="give --with and --with-jars the files that it was built with, and no others",
        )
    return found


def _of_runtime(
    engine: Images, definitions: Definitions, lock: Lock, variant: str, workers: int
) -> Subject:
    subject = lock.runtime
    lock.variant(variant)
    reference = named(subject, variant, lock.flavour)
    built = f"mlruntime build {subject} --variant {variant} --load"
    if lock.of_runtime.flavour != CORE:
        built += f" --flavour {lock.of_runtime.flavour}"
    if lock.of_runtime != lock:
        own = lock.flavours[-1]
        built += " --with FILE" if own.requirements else ""
        built += " --with-jars FILE" if own.jar_requirements else ""
    image = engine.image(reference)
    if image is None:
        raise InvalidLock(f"the engine has no image {reference}", hint=f"build it: `{built}`")
    if image.labels.get(f"{LABEL}.lock.digest") != lock.digest:
        raise InvalidLock(
            f"{reference} was built from another lock", hint=f"build it again: `{built}`"
        )
    found = _subject(definitions, image.id, lock, variant, workers)
    refuse_other_plan(image, found, shown=reference, hint=f"build it again: `{built}`")
    return found


def refuse_other_plan(image: ImageInfo, subject: Subject, *, shown: str, hint: str) -> None:
    """Raise ``InvalidLock`` for an image that another plan made than the subject says.

    That holds whichever checks are chosen: none of them would be about the definitions.
    """
    if image.labels.get(PLAN_LABEL) != subject.plan:
        raise InvalidLock(
            f"{shown} is not what the definitions describe now",
            why="images/ or mlruntime itself has changed since it was built",
            hint=hint,
        )


def _layout(subject: str) -> tuple[Path, str | None] | None:
    """Return the directory, and the image's name in it, if the subject is an OCI layout."""
    if Path(subject).is_dir():
        return Path(subject), None
    directory, colon, name = subject.partition(":")
    return (Path(directory), name) if colon and is_layout(Path(directory)) else None


def _from_layout(engine: Images, directory: Path, name: str | None) -> str:
    """Check every byte of an image in an OCI layout, load it, and return its id there."""
    if not is_layout(directory):
        raise UsageError(f"{directory} is not an OCI layout", why="it has no file oci-layout")
    return load(read_layout(directory, name), LayoutBlobs(directory), engine).id


def _subject(
    definitions: Definitions, image: str, lock: Lock, variant: str, workers: int
) -> Subject:
    found = supply(lock.variant(variant).contract, workers)
    return Subject(
        image=image,
        lock=lock,
        variant=variant,
        workers=workers,
        gpus=found.gpus,
        why_no_more_gpus=found.why_no_more,
        manifest=manifest_of(image, Store(store_root())),
        plan=planned_image(definitions, lock, variant).digest,
        libraries=libraries(definitions),
    )
