"""What weighs how much in an image: layers and packages. Core: no I/O."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from mlruntime.documents.tables import Table, plain
from mlruntime.image.plan import Plan
from mlruntime.image.treemap import Group, treemap
from mlruntime.layers.gzipped import LayerBlob
from mlruntime.lock.model import Lock
from mlruntime.lock.packages import Artifact, NativeWheel

# Of packages, a table shows this many; JSON and the picture have all.
_SHOWN: Final = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSize:
    """A layer; ``blob`` is ``None`` as long as it has not been built here."""

    name: str
    flavour: str
    blob: LayerBlob | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageSize:
    """A package: what is downloaded of it, and what it is unpacked, where that is known.

    Both in bytes; ``packed`` of a wheel that is compiled here is the compiled wheel's.
    """

    name: str
    version: str
    kind: str
    layer: str
    packed: int | None
    unpacked: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """An image by size. ``budget`` is what its compressed layers may have together, in bytes."""

    runtime: str
    variant: str
    flavour: str
    layers: tuple[LayerSize, ...]
    packages: tuple[PackageSize, ...]
    budget: int | None

    @property
    def built(self) -> bool:
        """Return whether the sizes of all layers are known."""
        return all(layer.blob for layer in self.layers)

    @property
    def packed(self) -> int:
        """Return the bytes of all layers that are known, compressed."""
        return sum(layer.blob.size for layer in self.layers if layer.blob)

    @property
    def unpacked(self) -> int:
        """Return the bytes of all layers that are known, as a container sees them."""
        return sum(layer.blob.unpacked for layer in self.layers if layer.blob)


def sizes(
    plan: Plan,
    *,
    blob: Callable[[str], LayerBlob | None],
    unpacked: Callable[[Artifact, Callable[[str], bool]], int | None],
    compiled: Callable[[NativeWheel], tuple[int, int] | None],
    budget: int | None,
) -> Sizes:
    """Return the sizes of a planned image.

    ``blob`` returns a layer that was built, by its key; ``unpacked`` the size of those files of an
    artifact that the image has, ``compiled`` the sizes (packed, unpacked) of a wheel that was
    compiled; all of them ``None`` for what is not here.
    """
    found: list[PackageSize] = []
    # A package whose files are in two layers is shown where its metadata is.
    for layer in (x for x in plan.layers if not x.content.is_apart):
        for one in layer.content.artifacts:
            found.append(
                PackageSize(
                    name=one.name, version=one.version, kind=one.kind, layer=layer.name,
                    packed=one.size, unpacked=unpacked(one, layer.content.has),
                )
            )  # fmt: skip
        for wheel in layer.content.native:
            packed, content = compiled(wheel) or (None, None)
            found.append(
                PackageSize(
                    name=wheel.name, version=wheel.version, kind="native wheel", layer=layer.name,
                    packed=packed, unpacked=content,
                )
            )  # fmt: skip
    unique = {(p.kind, p.name): p for p in reversed(found)}  # `configured` names them again
    return Sizes(
        runtime=plan.runtime,
        variant=plan.variant,
        flavour=plan.flavour,
        layers=tuple(
            LayerSize(name=layer.name, flavour=layer.flavour, blob=blob(layer.key))
            for layer in plan.layers
        ),
        packages=tuple(
            sorted(unique.values(), key=lambda p: (-(p.unpacked or p.packed or 0), p.name))
        ),
        budget=budget,
    )


def locked_sizes(lock: Lock, variant: str) -> Sizes:
    """Return what is downloaded for an image, from its lock alone: nothing is said of layers.

    Packages are grouped by their kind instead. Of a wheel that is compiled here, it is the source.
    """
    whole = lock.whole(variant)
    found = [(a.name, a.version, a.kind, a.size) for a in whole.artifacts]
    found += [(n.name, n.version, "native wheel", n.sdist.size) for n in whole.native]
    packages = [
        PackageSize(name=name, version=version, kind=kind, layer=kind, packed=size, unpacked=None)
        for name, version, kind, size in found
    ]
    return Sizes(
        runtime=lock.runtime,
        variant=variant,
        flavour=lock.flavour,
        layers=(),
        packages=tuple(sorted(packages, key=lambda p: (-(p.packed or 0), p.name))),
        budget=None,
    )


def sizes_json(found: Sizes) -> dict[str, Any]:
    """Return the verb's JSON; sizes in bytes."""
    return {
        "runtime": found.runtime,
        "variant": found.variant,
        "flavour": found.flavour,
        "built": found.built,
        "size": found.packed,
        "unpacked": found.unpacked,
        "budget": found.budget,
        "layers": [
            {
                "name": layer.name,
                "flavour": layer.flavour,
                "size": layer.blob.size if layer.blob else None,
                "unpacked": layer.blob.unpacked if layer.blob else None,
            }
            for layer in found.layers
        ],
        "packages": [
            {field: getattr(one, field) for field in PackageSize.__dataclass_fields__}
            for one in found.packages
        ],
    }


def sizes_text(found: Sizes) -> str:
    """Return two tables, of layers and of the largest packages, and the sum."""
    layers = sorted(found.layers, key=lambda layer: -(layer.blob.size if layer.blob else 0))
    tables = [
        Table(
            title=f"Layers of {found.runtime}, {found.variant}, {found.flavour}",
            columns=("layer", "flavour", "packed", "unpacked"),
            rows=tuple((x.name, x.flavour, *_mbs(x.blob)) for x in layers),
        ),
        Table(
            title=f"The largest of {len(found.packages)} packages",
            columns=("package", "version", "kind", "layer", "packed", "unpacked"),
            rows=tuple(
                (p.name, p.version, p.kind, p.layer, _mb(p.packed), _mb(p.unpacked))
                for p in found.packages[:_SHOWN]
            ),
        ),
    ]
    return "\n\n".join([*(plain(table) for table in tables), "\n".join(_sum(found))])


def _sum(found: Sizes) -> Iterator[str]:
    yield f"together {_mb(found.packed).strip()}, unpacked {_mb(found.unpacked).strip()}"
    missing = [layer.name for layer in found.layers if layer.blob is None]
    if missing:
        yield f"not built here, and not counted: {', '.join(missing)}"
    if found.budget is not None:
        yield f"budget {found.budget / 1e6:.0f} MB"


def _mbs(blob: LayerBlob | None) -> tuple[str, str]:
    return (_mb(blob.size), _mb(blob.unpacked)) if blob else (_mb(None), _mb(None))


def _mb(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f} MB"


def sizes_picture(found: Sizes) -> str:
    """Return a treemap: the packages of each layer, by what they are unpacked if that is known."""
    layers = dict.fromkeys(package.layer for package in found.packages)
    groups = [
        Group(
            name=layer,
            parts=tuple(
                (p.name, p.unpacked or p.packed or 0) for p in found.packages if p.layer == layer
            ),
        )
        for layer in layers
    ]
    total = sum(group.size for group in groups)
    kind = found.variant if found.flavour == "core" else f"{found.variant}, {found.flavour}"
    return treemap(f"{found.runtime} ({kind}): {total / 1e6:.0f} MB of packages", groups)
