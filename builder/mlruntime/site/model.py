"""What a site is made of. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlruntime.definitions.runtime import RuntimeDefinition
from mlruntime.documents.tables import Table
from mlruntime.image.sizes import Sizes
from mlruntime.lock.model import Lock, tag
from mlruntime.matrix.model import Matrix
from mlruntime.resolve.model import Resolution


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteImage:
    """One image: the lock, cut at its flavour, and what of it weighs how much.

    ``of`` is the runtime or, of what was released before, the version.
    """

    of: str
    lock: Lock
    sizes: Sizes

    @property
    def current(self) -> bool:
        """Return whether it is what the runtime's lock has now."""
        return self.of == self.lock.runtime

    @property
    def variant(self) -> str:
        """Return the variant."""
        return self.sizes.variant

    @property
    def tag(self) -> str:
        """Return ``cpu``, ``gpu-notebook``."""
        return tag(self.variant, self.lock.flavour)

    @property
    def name(self) -> str:
        """Return ``6.0-ml:cpu``, as ``mlruntime diff`` takes it."""
        return f"{self.of}:{self.tag}"

    @property
    def slug(self) -> str:
        """Return the name of its page, without a suffix."""
        return f"{self.of}-{self.tag}"

    @property
    def download(self) -> int:
        """Return the bytes that are downloaded for it: its packages, as the lock has them."""
        return sum(package.packed or 0 for package in self.sizes.packages)


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteVersion:
    """A version that was released: its images are known if its lock is.

    ``channels`` are those that point at it, ``variants`` names and digests, ``retired`` why nobody
    should use it any more. What only a registry knows is empty where no record of it was given.
    """

    version: str
    released: str = ""
    channels: tuple[str, ...] = ()
    index: str = ""
    variants: tuple[tuple[str, str], ...] = ()
    retired: str | None = None
    images: tuple[SiteImage, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteRuntime:
    """A runtime: what it asks for, the versions chosen, and its images; none without a lock.

    ``resolution`` is ``None`` where the rules leave no versions. ``versions`` are those that were
    released, the newest first, as far as that is known.
    """

    definition: RuntimeDefinition
    resolution: Resolution | None
    lock: Lock | None
    images: tuple[SiteImage, ...]
    versions: tuple[SiteVersion, ...] = ()

    @property
    def id(self) -> str:
        """Return the runtime's id."""
        return self.definition.runtime


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteContents:
    """All that a site says.

    ``documents`` are Markdown files by their path in the project (``docs/images.md``), ``files``
    what they link to beside that. ``templates`` are the site's own. ``registry`` is where its
    images are pulled from, if that is known.
    """

    version: str
    matrix: Matrix
    runtimes: tuple[SiteRuntime, ...]
    evidence: tuple[Table, ...]
    documents: Mapping[str, str]
    files: Mapping[str, bytes] = field(default_factory=dict)
    templates: Mapping[str, str]
    registry: str | None = None

    @property
    def images(self) -> tuple[SiteImage, ...]:
        """Return the images of all runtimes, and of their versions after those."""
        return tuple(
            image
            for runtime in self.runtimes
            for images in (runtime.images, *(version.images for version in runtime.versions))
            for image in images
        )
