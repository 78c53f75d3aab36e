"""The form of ``lock.json``, and reading it. Core: no I/O."""

from typing import Annotated, Literal

from mlruntime.documents.reading import Location, read_json
from mlruntime.documents.schema import Form, Natural, Sha256, Text, checked, described
from mlruntime.errors import InvalidLock
from mlruntime.lock.contract import ContractForm, contract_of
from mlruntime.lock.model import (
    CORE,
    FORMAT,
    FORMAT_WITH_CONDA,
    FORMAT_WITH_FLAVOURED_OS,
    FORMAT_WITH_PACKAGES,
    FORMAT_WITHOUT_FLAVOURS,
    Flavour,
    FlavourVariant,
    Lock,
    Variant,
)
from mlruntime.lock.packages import Artifact, CondaPackage, DummyPackage, NativeWheel, Omission

FileName = Annotated[
    str, described("the name of a file, which has no directory", r"^(?!\.{1,2}$)[^/]+$")
]
Pairs = dict[str, Text]


class ArtifactForm(Form, frozen=True):
    """One file of a registry, known by its hash."""

    kind: Literal["conda", "deb", "jar", "sdist", "wheel"]
    name: Text
    version: Text
    filename: FileName
    size: Natural
    sha256: Sha256
    origin: Text


class OtherArtifactForm(Form, frozen=True):
    """One file of an ecosystem that locks have no other place for; its kind is its own word."""

    kind: Text
    name: Text
    version: Text
    filename: FileName
    size: Natural
    sha256: Sha256
    origin: Text


class CondaForm(ArtifactForm, frozen=True):
    """A conda package, and what other tools want to know of it."""

    origin: Annotated[
        str,
        described("a conda package's origin", "^conda:[^:]+:.+", "conda:linux-64:conda-forge"),
    ]
    build: Text
    depends: list[Text]
    md5: Annotated[str, described("an MD5 in lower-case hex", "^[0-9a-f]{32}$")] | None = None


class NamedFileForm(Form, frozen=True):
    """A file beside a recipe."""

    name: Text
    sha256: Text


class NativeForm(Form, frozen=True):
    """A wheel that is built here, from an sdist."""

    name: Text
    version: Text
    key: Text
    python: Text
    sdist: ArtifactForm
    link_against: list[ArtifactForm]
    requirements: list[ArtifactForm]
    environment: Pairs
    patches: list[NamedFileForm]
    base: Text
    build_depends: Text
    build_depends_unpacked: list[ArtifactForm] | None = None
    prepare: NamedFileForm | None = None


class DummyPackageForm(Form, frozen=True):
    """A package that another one (``by``) is under another name."""

    name: Text
    version: Text
    by: Text


class VariantForm(Form, frozen=True):
    """What one variant has beyond the common part."""

    python: list[ArtifactForm]
    native: list[NativeForm]
    dummy_packages: list[DummyPackageForm] | None = None
    components: Pairs | None = None
    host_contract: ContractForm | None = None
    conda: list[CondaForm] | None = None


class OmissionForm(Form, frozen=True):
    """A component that was asked for and is not in the image, with the reason."""

    component: Text
    artifact: Text
    why: Text


class FlavourVariantForm(Form, frozen=True):
    """What one variant of a flavour has beyond the flavour's common part."""

    python: list[ArtifactForm]
    dummy_packages: list[DummyPackageForm] | None = None


class FlavourForm(Form, frozen=True):
    """What a flavour adds to those below it."""

    request: Text
    components: Pairs
    omitted: list[OmissionForm]
    python: list[ArtifactForm]
    jars: list[ArtifactForm]
    variants: dict[str, FlavourVariantForm]
    requirements: list[Text] | None = None
    jar_requirements: list[Text] | None = None
    os: list[ArtifactForm] | None = None


class LockForm(Form, frozen=True):
    """Every artifact of a runtime by name, version, size and sha256; written by a program."""

    format: int
    runtime: Text
    inputs: Pairs
    snapshot: Text
    components: Pairs
    omitted: list[OmissionForm]
    os: list[ArtifactForm]
    build_depends: list[ArtifactForm]
    python: list[ArtifactForm]
    jars: list[ArtifactForm]
    variants: dict[str, VariantForm]
    conda: list[CondaForm] | None = None
    packages: list[OtherArtifactForm] | None = None
    flavours: dict[str, FlavourForm] | None = None


def parse_lock(text: str, *, file: str) -> Lock:
    """Read a lock; anything but exactly the documented form raises ``InvalidLock``."""
    top = read_json(text, file=file, error=InvalidLock)
    version = top.get("format").integer()
    known = (
        FORMAT_WITHOUT_FLAVOURS,
        FORMAT,
        FORMAT_WITH_CONDA,
        FORMAT_WITH_FLAVOURED_OS,
        FORMAT_WITH_PACKAGES,
    )
    if version not in known:
        older = "that of an older mlruntime" if version < FORMAT else "not known"
        raise top.get("format").fail(
            f"lock format {version} is {older}; this one reads formats {known[0]} to {known[-1]}",
            hint="run `mlruntime lock`",
        )
    form = checked(LockForm, top)
    return Lock(
        runtime=form.runtime,
        inputs=tuple(form.inputs.items()),
        snapshot=form.snapshot,
        components=tuple(form.components.items()),
        omitted=_omitted(form.omitted),
        os=_artifacts(form.os),
        build_depends=_artifacts(form.build_depends),
        python=_artifacts(form.python),
        jars=_artifacts(form.jars),
        variants=tuple(
            _variant(name, variant, top.get("variants").get(name))
            for name, variant in form.variants.items()
        ),
        flavours=tuple(
            _flavour(name, flavour, top.get("flavours").get(name))
            for name, flavour in (form.flavours or {}).items()
        ),
        conda=_conda(form.conda),
        packages=tuple(_artifact(package) for package in form.packages or ()),
    )


def _conda(forms: list[CondaForm] | None) -> tuple[CondaPackage, ...]:
    return tuple(
        CondaPackage(
            artifact=_artifact(form),
            build=form.build,
            md5=form.md5 or "",
            depends=tuple(form.depends),
        )
        for form in forms or ()
    )


def _flavour(name: str, form: FlavourForm, place: Location) -> Flavour:
    if name == CORE:
        raise place.fail(f"{CORE} is what the lock says outside of flavours")
    return Flavour(
        name=name,
        request=form.request,
        components=tuple(form.components.items()),
        omitted=_omitted(form.omitted),
        python=_artifacts(form.python),
        jars=_artifacts(form.jars),
        variants=tuple(
            FlavourVariant(
                name=variant,
                python=_artifacts(own.python),
                dummy_packages=_dummies(own.dummy_packages),
            )
            for variant, own in form.variants.items()
        ),
        requirements=tuple(form.requirements or ()),
        jar_requirements=tuple(form.jar_requirements or ()),
        os=_artifacts(form.os),
    )


def _omitted(forms: list[OmissionForm]) -> tuple[Omission, ...]:
    return tuple(Omission(component=o.component, artifact=o.artifact, why=o.why) for o in forms)


def _dummies(forms: list[DummyPackageForm] | None) -> tuple[DummyPackage, ...]:
    return tuple(DummyPackage(name=d.name, version=d.version, by=d.by) for d in forms or ())


def _artifacts(forms: list[ArtifactForm] | None) -> tuple[Artifact, ...]:
    return tuple(_artifact(form) for form in forms or ())


def _artifact(form: ArtifactForm | OtherArtifactForm) -> Artifact:
    return Artifact(
        kind=form.kind,
        name=form.name,
        version=form.version,
        filename=form.filename,
        size=form.size,
        sha256=form.sha256,
        origin=form.origin,
    )


def _variant(name: str, form: VariantForm, place: Location) -> Variant:
    host = form.host_contract
    return Variant(
        name=name,
        python=_artifacts(form.python),
        native=tuple(
            _native(wheel, place.get("native").at(index)) for index, wheel in enumerate(form.native)
        ),
        dummy_packages=_dummies(form.dummy_packages),
        components=tuple((form.components or {}).items()),
        contract=contract_of(host, place.get("host-contract")) if host else None,
        conda=_conda(form.conda),
    )


def _native(form: NativeForm, place: Location) -> NativeWheel:
    wheel = NativeWheel(
        name=form.name,
        version=form.version,
        python=form.python,
        sdist=_artifact(form.sdist),
        link_against=_artifacts(form.link_against),
        requirements=_artifacts(form.requirements),
        environment=tuple(form.environment.items()),
        patches=tuple(_file(patch) for patch in form.patches),
        base=form.base,
        build_depends=form.build_depends,
        build_depends_unpacked=_artifacts(form.build_depends_unpacked),
        prepare=_file(form.prepare) if form.prepare else None,
    )
    if form.key != wheel.key:
        raise place.get("key").fail(
            "the recipe key does not follow from the recipe",
            why="the lock was edited by hand",
            hint="run `mlruntime lock`",
        )
    return wheel


def _file(form: NamedFileForm) -> tuple[str, str]:
    return form.name, form.sha256
