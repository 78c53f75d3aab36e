"""The layer stack, read from ``images/layers.yaml``. Core: text in, values out."""

from dataclasses import dataclass

from mlruntime.documents.reading import Location, read_yaml
from mlruntime.documents.schema import Form, Text, checked
from mlruntime.image.sources import AnySource
from mlruntime.image.sources.model import EVERYTHING_ELSE, LayerSource, SharedOut
from mlruntime.lock.model import CORE


class ConfigForm(Form, frozen=True):
    """What a container of the image starts with."""

    user: Text
    workdir: Text
    entrypoint: list[Text]
    command: list[Text]
    environment: dict[str, Text]


class StackForm(Form, frozen=True):
    """The layer stack of every image, bottom first, and the image's configuration."""

    layers: list[AnySource]
    config: ConfigForm


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

    layers: tuple[LayerSource, ...]
    config: StackConfig


def parse_stack(text: str, *, file: str) -> Stack:
    """Read ``layers.yaml``; raises ``InvalidDefinition`` with the place of what is wrong."""
    top = read_yaml(text, file=file)
    form = checked(StackForm, top)
    layers: tuple[LayerSource, ...] = tuple(form.layers)
    names = [layer.name for layer in layers]
    for index, name in enumerate(names):
        if names.count(name) > 1:
            raise top.get("layers").at(index).fail(f"two layers are called {name!r}")
    for kind in dict.fromkeys((type(layer), layer.of) for layer in layers):
        of_kind = [layer for layer in layers if (type(layer), layer.of) == kind]
        _share_out(top.get("layers"), of_kind)
    _refuse_flavoured(top.get("layers"), layers)
    for source in dict.fromkeys(type(layer) for layer in layers):
        source.check_stack(layers, top.get("layers"))
    return Stack(layers=layers, config=_config(form.config))


def _refuse_flavoured(place: Location, layers: tuple[LayerSource, ...]) -> None:
    """Refuse a flavour's layers where they cannot be: below those of core."""
    names = [layer.of for layer in layers]
    for index, layer in enumerate(layers):
        if layer.of == CORE and any(name != CORE for name in names[:index]):
            raise place.at(index).fail(
                f"layer {layer.name!r} is above those of flavours",
                why="every flavour shares the layers below it with core",
                hint="put the layers of flavours last",
            )


def _share_out(place: Location, layers: list[LayerSource]) -> None:
    """Refuse packages that are in two layers of a source, or in none."""
    shared = [layer for layer in layers if isinstance(layer, SharedOut)]
    owners = [package for layer in shared for package in layer.packages]
    for package in owners:
        if owners.count(package) > 1:
            raise place.fail(f"package {package!r} is in two layers")
    if shared and EVERYTHING_ELSE not in owners:
        raise place.fail(
            f"{shared[0].__struct_config__.tag} packages that no layer names have no place",
            hint='give one layer `packages: ["*"]`',
        )


def _config(form: ConfigForm) -> StackConfig:
    return StackConfig(
        user=form.user,
        workdir=form.workdir,
        entrypoint=tuple(form.entrypoint),
        command=tuple(form.command),
        environment=tuple(form.environment.items()),
    )
