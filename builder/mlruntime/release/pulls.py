"""What hosts pull of an image: all of it, or what the last version of it lacks. Core: no I/O."""

from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from mlruntime.documents.oci import Document
from mlruntime.image.image import Image


@dataclass(frozen=True, kw_only=True, slots=True)
class PullSizes:
    """An image's compressed layers, sizes in bytes.

    ``largest`` is the name and size of the one that a pull of all at once waits for. ``new`` is
    the size of those that ``before``, the last version with an image of this name, does not have;
    without one, all are new. ``above`` is the size of the lowest new one and all above it: that is
    what Docker pulls unless it keeps images in containerd, because its own store shares layers
    from the bottom up only.
    """

    name: str
    layers: int
    size: int
    largest: tuple[str, int]
    before: str | None
    new: int
    above: int

    def to_text(self) -> str:
        """Return a sentence."""
        layer, most = self.largest
        text = f"{_mb(self.size)} in {self.layers} layers, the largest {_mb(most)} ({layer})"
        if self.before is None:
            return text
        pulled = f"hosts with {self.before} pull {_mb(self.new)}, {self.new / self.size:.0%}"
        if self.above != self.new:
            pulled += f" ({_mb(self.above)} into Docker's own image store)"
        return f"{text}; {pulled}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON's value."""
        return {
            "image": self.name,
            "size": self.size,
            "layers": self.layers,
            "largest": {"layer": self.largest[0], "size": self.largest[1]},
            "before": self.before,
            "new": self.new,
            "above": self.above,
        }


def pull_of(name: str, image: Image, before: tuple[str, Document] | None) -> PullSizes:
    """Return what is pulled of an image; ``before`` is the last version and its manifest."""
    layers = [(layer.name, layer.blob.digest, layer.blob.size) for layer in image.layers]
    there = _layers(before[1]) if before else ()
    shared = sum(1 for _ in takewhile(lambda p: p[0][1] == p[1], zip(layers, there, strict=False)))
    return PullSizes(
        name=name,
        layers=len(layers),
        size=sum(size for *_, size in layers),
        largest=max(((name, size) for name, _, size in layers), key=lambda one: one[1]),
        before=before[0] if before else None,
        new=sum(size for _, digest, size in layers if digest not in there),
        above=sum(size for *_, size in layers[shared:]),
    )


def _layers(manifest: Document) -> tuple[str, ...]:
    return tuple(str(layer.get("digest")) for layer in manifest.parsed().get("layers", ()))


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 10e6 else f"{size / 1e6:.1f} MB"
