"""The layer stack, read from ``images/layers.yaml``. Core: text in, values out."""

from dataclasses import dataclass
from typing import Final

from mlruntime.documents.reading import Place, read_yaml

SOURCES: Final = ("configured", "contract", "debian", "files", "jars", "library", "python")
_DETAILS: Final = {
    "configured": ((), ()),
    "contract": ((), ()),
    "debian": (("packages",), ()),
    "files": (("files",), ("links", "directories", "executable")),
    "jars": (("into",), ()),
    "library": (("library",), ()),
    "python": (("packages",), ("linked",)),
}
EVERYTHING_ELSE: Final = "*"
# Sources whose layers share out the packages of an ecosystem.
_SHARED_OUT: Final = ("debian", "python")


@dataclass(frozen=True, kw_only=True, slots=True)
class StackLayer:
    """One layer of the stack.

    ``source`` says where its content comes from: Debian or Python ``packages`` by name or pattern,
    ``*`` being all that no other layer of that source names; what is ``configured`` in the Debian
    packages below; the variant's host contract, as a file; a folder of ``images/rootfs`` with
    symbolic ``links`` and empty ``directories``; the locked jars, put ``into`` a directory; or a
    ``library`` of ``images/``. Shared libraries of Python packages, in directories like
    ``linked`` (a pattern below site-packages), get symbolic links where the dynamic linker looks
    by itself. Strings may be Jinja2 templates.
    """

    name: str
    source: str
    files: str = ""
    links: tuple[tuple[str, str], ...] = ()
    directories: tuple[str, ...] = ()
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
    top.keys(("layers", "config"))
    layers = tuple(_layer(place) for place in top.get("layers").each())
    names = [layer.name for layer in layers]
    for place, name in zip(top.get("layers").each(), names, strict=True):
        if names.count(name) > 1:
            raise place.fail(f"two layers are called {name!r}")
    for source in _SHARED_OUT:
        _shared_out(top.get("layers"), source, [x for x in layers if x.source == source])
    system = [layer.source for layer in layers if layer.source in ("debian", "configured")]
    if system and (system.count("configured"), system[-1]) != (1, "configured"):
        raise top.get("layers").fail(
            "Debian packages must be configured once, when all have been unpacked",
            hint="give one layer `source: configured`, above all with `source: debian`",
        )
    return Stack(layers=layers, config=_config(top.get("config")))


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


def _layer(place: Place) -> StackLayer:
    source = place.get("source").choice(SOURCES)
    required, optional = _DETAILS[source]
    place.keys(("name", "source", *required), optional)
    return StackLayer(
        name=place.get("name").text(),
        source=source,
        files=_text(place, "files"),
        links=_pairs(place.maybe("links")),
        directories=_texts(place, "directories"),
        executable=_texts(place, "executable"),
        into=_text(place, "into"),
        library=_text(place, "library"),
        packages=_texts(place, "packages"),
        linked=_text(place, "linked"),
    )


def _text(place: Place, key: str) -> str:
    found = place.maybe(key)
    return found.text() if found else ""


def _texts(place: Place, key: str) -> tuple[str, ...]:
    found = place.maybe(key)
    return found.texts() if found else ()


def _pairs(place: Place | None) -> tuple[tuple[str, str], ...]:
    return tuple((key, value.text()) for key, value in place.items()) if place else ()


def _config(place: Place) -> StackConfig:
    place.keys(("user", "workdir", "entrypoint", "command", "environment"))
    return StackConfig(
        user=place.get("user").text(),
        workdir=place.get("workdir").text(),
        entrypoint=place.get("entrypoint").texts(),
        command=place.get("command").texts(),
        environment=_pairs(place.get("environment")),
    )
