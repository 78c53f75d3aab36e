"""The plan: which layers an image has, each with a key, and its configuration. Core: no I/O.

A layer's key identifies everything that can change its bytes, and can be computed before any of
its artifacts has been downloaded. Equal keys, equal bytes.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from packaging.utils import canonicalize_name

from mlruntime.documents.reading import canonical_json
from mlruntime.errors import InvalidDefinition
from mlruntime.image.config import PLAN_LABEL, ImageConfig, configured
from mlruntime.image.stack import EVERYTHING_ELSE, Stack, StackLayer
from mlruntime.image.templates import render, variables
from mlruntime.layers.gzipped import COMPRESSOR
from mlruntime.layers.writer import WRITER
from mlruntime.lock.contract import PATH as CONTRACT_PATH
from mlruntime.lock.model import Artifact, DummyPackage, Lock, NativeWheel, Variant, set_digest


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file laid into the image as it is."""

    path: str
    content: bytes
    executable: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedLayer:
    """One layer: what it is made of, and the key that stands for its bytes.

    Exactly what its ``source`` needs is filled in: ``packages`` (Debian, also those that are
    configured in it), ``wheels`` and ``native`` (Python), ``jars`` and ``files`` by their path in
    the image. ``linked`` is the stack's.
    """

    name: str
    source: str
    key: str
    packages: tuple[Artifact, ...] = ()
    wheels: tuple[Artifact, ...] = ()
    native: tuple[NativeWheel, ...] = ()
    jars: tuple[tuple[str, Artifact], ...] = ()
    files: tuple[File, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    directories: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    linked: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """An image before it is made. ``python`` is the interpreter's minor version ("3.11")."""

    runtime: str
    variant: str
    python: str
    layers: tuple[PlannedLayer, ...]
    config: ImageConfig

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Return every artifact the image itself is made of (not those of native builds)."""
        found = (
            artifact
            for layer in self.layers
            for artifact in (*layer.packages, *layer.wheels, *(jar for _, jar in layer.jars))
        )
        return tuple(dict.fromkeys(found))

    @property
    def digest(self) -> str:
        """Return ``sha256:…`` of all that decides the image but the time of its creation.

        Two plans with the same digest make the same image; an image's label tells it.
        """
        content = [
            self.runtime,
            self.variant,
            self.python,
            [[layer.name, layer.key] for layer in self.layers],
            asdict(self.config),
        ]
        return f"sha256:{hashlib.sha256(canonical_json(content).encode()).hexdigest()}"

    @property
    def image_config(self) -> ImageConfig:
        """Return the image's configuration: the plan's, and the label with the plan's digest."""
        return self.config.labelled(PLAN_LABEL, self.digest)


def built_on(plan: Plan, lock: Lock, wheel: NativeWheel) -> tuple[PlannedLayer, ...]:
    """Return the layers that a native wheel is built on, bottom first.

    They are those with the system and the wheels that all variants have, and with those that it
    is built against. Layers with native wheels are left out: these are built side by side.
    """
    common = {a.sha256 for a in lock.python}
    against = {a.sha256 for a in wheel.link_against}
    found = []
    for layer in plan.layers:
        if wheel in layer.native:
            break
        wheels = {a.sha256 for a in layer.wheels}
        if layer.jars or layer.native or not (wheels <= common or wheels & against):
            continue
        found.append(layer)
    return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """Digests of our own recipes: an edit of one must change the keys of what it makes.

    ``native`` returns the one that a wheel is built by.
    """

    unpacking: str
    configuring: str
    bytecode: str
    native: Callable[[NativeWheel], str]


def plan(
    lock: Lock,
    variant: str,
    stack: Stack,
    files: Mapping[str, bytes],
    *,
    tools: Tools,
    version: str,
) -> Plan:
    """Return the plan for one variant.

    ``files`` are the definitions' ``images/`` folder, by relative path; ``version`` is this
    tool's. Raises ``InvalidDefinition`` for a stack that names what is not there.
    """
    known = variables(lock, variant)
    patterns = _patterns(stack, known)
    _refuse_idle(patterns.get("debian", []), lock)
    planner = _Planner(lock, lock.variant(variant), patterns, files, known, tools, version)
    layers = tuple(planner.layer(layer) for layer in stack.layers)
    return Plan(
        runtime=lock.runtime,
        variant=variant,
        python=known["python"]["minor"],
        layers=tuple(layer for layer in layers if not _empty(layer)),
        config=configured(stack.config, lock, variant, known),
    )


def _patterns(stack: Stack, known: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Return, for each source, its layers' patterns of packages: (layer, pattern)."""
    found: dict[str, list[tuple[str, str]]] = {layer.source: [] for layer in stack.layers}
    for layer in stack.layers:
        for pattern in layer.packages:
            if pattern != EVERYTHING_ELSE:
                text = render(pattern, known, file="images/layers.yaml")
                found[layer.source].append((layer.name, text))
    return found


def _refuse_idle(patterns: list[tuple[str, str]], lock: Lock) -> None:
    """Refuse a pattern that matches no Debian package.

    All variants have the same system: unlike a wheel's, a package's absence is a mistake.
    """
    for layer, pattern in patterns:
        if not any(fnmatchcase(artifact.name, pattern) for artifact in lock.os):
            raise InvalidDefinition(
                f"layer {layer!r}: no Debian package of the lock matches {pattern!r}",
                where="images/layers.yaml",
                why=f"{lock.runtime} is locked without one",
                hint="correct it, or write a pattern for both, like libssl3*, if names differ",
            )


def _empty(layer: PlannedLayer) -> bool:
    return not any(
        (layer.packages, layer.wheels, layer.native, layer.jars, layer.files, layer.links)
    )


def layer_key(source: str, content: Any) -> str:
    """Return the key (hex) of a layer made from ``content``, a JSON value."""
    recipe = {"source": source, "writer": WRITER, "compressor": COMPRESSOR, "content": content}
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Planner:
    lock: Lock
    variant: Variant
    patterns: Mapping[str, list[tuple[str, str]]]
    files: Mapping[str, bytes]
    known: dict[str, Any]
    tools: Tools
    version: str

    def layer(self, layer: StackLayer) -> PlannedLayer:
        planned: PlannedLayer = getattr(self, f"_{layer.source}")(layer)
        return planned

    def _contract(self, layer: StackLayer) -> PlannedLayer:
        asked = self.variant.contract
        files = (File(path=CONTRACT_PATH, content=asked.to_json().encode()),) if asked else ()
        return self._literal(layer.name, files, (), ())

    def _here(self, layer: StackLayer) -> Callable[[str], bool]:
        """Return whether a package, by name, is in a layer; the layers of a source share them."""
        patterns = self.patterns[layer.source]

        def here(name: str) -> bool:
            name = canonicalize_name(name) if layer.source == "python" else name
            owners = sorted({other for other, pattern in patterns if fnmatchcase(name, pattern)})
            if len(owners) > 1:
                raise InvalidDefinition(
                    f"package {name!r} is in two layers, {' and '.join(owners)}",
                    where="images/layers.yaml",
                )
            return layer.name in owners or (not owners and EVERYTHING_ELSE in layer.packages)

        return here

    def _debian(self, layer: StackLayer) -> PlannedLayer:
        here = self._here(layer)
        packages = tuple(a for a in self.lock.os if here(a.name))
        key = layer_key("debian", [self.tools.unpacking, set_digest(packages)])
        return PlannedLayer(name=layer.name, source="debian", key=key, packages=packages)

    def _configured(self, layer: StackLayer) -> PlannedLayer:
        packages = self.lock.os
        key = layer_key("configured", [self.tools.configuring, set_digest(packages)])
        return PlannedLayer(name=layer.name, source="configured", key=key, packages=packages)

    def _python(self, layer: StackLayer) -> PlannedLayer:
        here = self._here(layer)
        wheels = tuple(a for a in (*self.lock.python, *self.variant.python) if here(a.name))
        wheels = tuple(sorted(wheels, key=lambda a: a.name))
        native = tuple(n for n in self.variant.native if here(n.name))
        files = tuple(
            file
            for s in self.variant.dummy_packages
            if here(s.by)
            for file in self._dummy_package(s)
        )
        content: list[Any] = [
            self.tools.bytecode,
            interpreter_digest(self.lock, self.known["python"]["minor"]),
            [[a.name, a.version, a.filename, a.sha256] for a in wheels],
            [[n.name, n.key, self.tools.native(n)] for n in native],
        ]
        if files:
            content.append(_file_digests(files))
        if layer.linked:
            content.append(layer.linked)
        return PlannedLayer(
            name=layer.name,
            source="python",
            key=layer_key("python", content),
            wheels=wheels,
            native=native,
            files=files,
            linked=layer.linked if wheels else "",
        )

    def _dummy_package(self, standin: DummyPackage) -> list[File]:
        """Return the metadata of a package that has no files: another one is installed for it."""
        more = (
            f"Summary: Stands for {standin.name}, which {standin.by} is by another name\n"
            f"Requires-Dist: {standin.by}=={standin.version}\n"
        )
        site = self.known["site_packages"]
        return _dist_info(standin.name, standin.version, site, (), more)

    def _jars(self, layer: StackLayer) -> PlannedLayer:
        into = self._render(layer.into)
        jars = tuple((f"{into}/{jar.filename}", jar) for jar in self.lock.jars)
        key = layer_key("jars", [[path, jar.sha256] for path, jar in jars])
        return PlannedLayer(name=layer.name, source="jars", key=key, jars=jars)

    def _files(self, layer: StackLayer) -> PlannedLayer:
        folder = f"rootfs/{layer.files}/"
        executable = tuple(self._render(pattern) for pattern in layer.executable)
        found = []
        for path in sorted(p for p in self.files if p.startswith(folder)):
            target, content = path.removeprefix(folder), self.files[path]
            if target.endswith(".j2"):
                target = target.removesuffix(".j2")
                text = _text(content, f"images/{path}")
                content = render(text, self.known, file=f"images/{path}").encode()
            matches = any(PurePosixPath(target).match(pattern) for pattern in executable)
            found.append(File(path=target, content=content, executable=matches))
        if not found:
            raise InvalidDefinition(
                f"layer {layer.name!r}: there is no folder images/{folder}",
                where="images/layers.yaml",
            )
        links = tuple((self._render(a), self._render(b)) for a, b in layer.links)
        directories = tuple(self._render(path) for path in layer.directories)
        shared = tuple(self._render(path) for path in layer.shared)
        return self._literal(layer.name, tuple(found), links, directories, shared)

    def _library(self, layer: StackLayer) -> PlannedLayer:
        folder = f"{layer.library}/"
        site = self.known["site_packages"]
        found = [
            File(path=f"{site}/{path.removeprefix(folder)}", content=self.files[path])
            for path in sorted(p for p in self.files if p.startswith(folder))
        ]
        if not found:
            raise InvalidDefinition(
                f"layer {layer.name!r}: there is no folder images/{folder}",
                where="images/layers.yaml",
            )
        found += _dist_info(layer.library, self.version, site, tuple(found))
        return self._literal(layer.name, tuple(found), (), ())

    def _literal(
        self,
        name: str,
        files: tuple[File, ...],
        links: tuple[tuple[str, str], ...],
        directories: tuple[str, ...],
        shared: tuple[str, ...] = (),
    ) -> PlannedLayer:
        content = [_file_digests(files), [list(link) for link in links], list(directories)]
        if shared:
            content.append(list(shared))
        return PlannedLayer(
            name=name,
            source="files",
            key=layer_key("files", content),
            files=files,
            links=links,
            directories=directories,
            shared=shared,
        )

    def _render(self, text: str) -> str:
        return render(text, self.known, file="images/layers.yaml")


def _text(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidDefinition("not UTF-8 text", where=file, why=str(error)) from None


def _file_digests(files: tuple[File, ...]) -> list[list[str | bool]]:
    return [[f.path, f.executable, hashlib.sha256(f.content).hexdigest()] for f in files]


def _dist_info(
    name: str, version: str, site: str, files: tuple[File, ...], more: str = ""
) -> list[File]:
    """Return the metadata that makes a library a distribution (``pip list`` shows it).

    ``more`` are further lines of its ``METADATA``.
    """
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    texts = {
        "INSTALLER": "mlruntime\n",
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: mlruntime\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    paths = [f.path.removeprefix(f"{site}/") for f in files]
    paths += [f"{folder}/{file}" for file in (*texts, "RECORD")]
    texts["RECORD"] = "".join(f"{path},,\n" for path in sorted(paths))
    return [
        File(path=f"{site}/{folder}/{file}", content=text.encode()) for file, text in texts.items()
    ]


def interpreter_digest(lock: Lock, python: str) -> str:
    """Return the digest of the Debian packages that make up the image's Python."""
    prefixes = (f"python{python}", f"libpython{python}")
    return set_digest(tuple(a for a in lock.os if a.name.startswith(prefixes)))
