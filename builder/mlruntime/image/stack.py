"""The layer stack, read from ``images/layers.yaml``. Core: text in, values out."""

from dataclasses import dataclass
from typing import Any, Final

from mlruntime.documents.reading import Place, read_yaml
from mlruntime.documents.schema import Form, Text, checked

EVERYTHING_ELSE: Final = "*"


class LayerForm(Form, frozen=True, tag_field="source"):
    """One layer, whatever its source."""

    name: Text


class ConfiguredLayer(LayerForm, frozen=True, tag="configured"):
    """What configuring the Debian packages below changes."""


class ContractLayer(LayerForm, frozen=True, tag="contract"):
    """The variant's host contract, as a file."""


class DebianLayer(LayerForm, frozen=True, tag="debian"):
    """Debian packages, by name or pattern."""

    packages: list[Text]


class FilesLayer(LayerForm, frozen=True, tag="files"):
    """A folder of ``images/rootfs`` with symbolic links and empty directories."""

    files: Text
    links: dict[str, Text] | None = None
    directories: list[Text] | None = None
    shared: list[Text] | None = None
    executable: list[Text] | None = None


class JarsLayer(LayerForm, frozen=True, tag="jars"):
    """The locked jars, put into a directory."""

    into: Text


class LibraryLayer(LayerForm, frozen=True, tag="library"):
    """A Python library of ``images/``."""

    library: Text


class PythonLayer(LayerForm, frozen=True, tag="python"):
    """Python packages, by name or pattern."""

    packages: list[Text]
    linked: Text | None = None


class ConfigForm(Form, frozen=True):
    """What a container of the image starts with."""

    user: Text
    workdir: Text
    entrypoint: list[Text]
    command: list[Text]
    environment: dict[str, Text]


class StackForm(Form, frozen=True):
    """The layer stack of every image, bottom first, and the image's configuration."""

    layers: list[
        ConfiguredLayer
        | ContractLayer
        | DebianLayer
        | FilesLayer
        | JarsLayer
        | LibraryLayer
        | PythonLayer
    ]
    config: ConfigForm


# Sources whose layers share out the packages of an ecosystem.
_SHARED_OUT: Final = ("debian", "python")


@dataclass(frozen=True, kw_only=True, slots=True)
class StackLayer:
    """One layer of the stack.

    ``source`` says where its content comes from: Debian or Python ``packages`` by name or pattern,
    ``*`` being all that no other layer of that source names; what is ``configured`` in the Debian
    packages below; the variant's host contract, as a file; a folder of ``images/rootfs`` with
    symbolic ``links`` and empty ``directories``, some of them ``shared`` with every user of the
    group root; the locked jars, put ``into`` a directory; or a
    ``library`` of ``images/``. Shared libraries of Python packages, in directories like
    ``linked`` (a pattern below site-packages), get symbolic links where the dynamic linker looks
    by itself. Strings may be Jinja2 templates.
    """

    name: str
    source: str
    files: str = ""
    links: tuple[tuple[str, str], ...] = ()
    directories: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    executable: tuple[str, ...] = ()
    into: str = ""
    library: str = ""
    packages: tuple[str, ...] = ()
    linked: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class StackConfig:
    """What a container of the image starts with; strings may be Jinja2 templates."""

    user: str
    workdir: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """All layers, bottom first, and the configuration."""

    layers: tuple[StackLayer, ...]
    config: StackConfig


def parse_stack(text: str, *, file: str) -> Stack:
    """Read ``layers.yaml``; raises ``InvalidDefinition`` with the place of what is wrong."""
    top = read_yaml(text, file=file)
    form = checked(StackForm, top)
    layers = tuple(_layer(layer) for layer in form.layers)
    names = [layer.name for layer in layers]
    for index, name in enumerate(names):
        if names.count(name) > 1:
            raise top.get("layers").at(index).fail(f"two layers are called {name!r}")
    for source in _SHARED_OUT:
        _shared_out(top.get("layers"), source, [x for x in layers if x.source == source])
    system = [layer.source for layer in layers if layer.source in ("debian", "configured")]
    if system and (system.count("configured"), system[-1]) != (1, "configured"):
        raise top.get("layers").fail(
            "Debian packages must be configured once, when all have been unpacked",
            hint="give one layer `source: configured`, above all with `source: debian`",
        )
    return Stack(layers=layers, config=_config(form.config))


def _shared_out(place: Place, source: str, layers: list[StackLayer]) -> None:
    """Refuse packages that are in two layers of a source, or in none."""
    owners = [p for layer in layers for p in layer.packages]
    for package in owners:
        if owners.count(package) > 1:
            raise place.fail(f"package {package!r} is in two layers")
    if layers and EVERYTHING_ELSE not in owners:
        raise place.fail(
            f"{source} packages that no layer names have no place",
            hint='give one layer `packages: ["*"]`',
        )


def _layer(form: LayerForm) -> StackLayer:
    given = {name: getattr(form, name) for name in form.__struct_fields__}
    kept: dict[str, Any] = {
        name: tuple(value.items())
        if isinstance(value, dict)
        else tuple(value)
        if isinstance(value, list)
        else value
        for name, value in given.items()
        if value is not None
    }
    return StackLayer(source=str(form.__struct_config__.tag), **kept)


def _config(form: ConfigForm) -> StackConfig:
    return StackConfig(
        user=form.user,
        workdir=form.workdir,
        entrypoint=tuple(form.entrypoint),
        command=tuple(form.command),
        environment=tuple(form.environment.items()),
    )
