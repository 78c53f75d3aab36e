"""What a team writes down of a cluster: ``cluster.yaml``. Core: no I/O."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta

from mlruntime.cluster.memory import Memory, mebibytes
from mlruntime.definitions.runtime import FlavourName, RuntimeId
from mlruntime.documents.reading import Location, read_yaml
from mlruntime.documents.schema import Form, Text, checked, described
from mlruntime.errors import InvalidDefinition, MlruntimeError
from mlruntime.matrix.model import VariantName

NAME: Final = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
# Spark's worker and its JVM need this much beside what they offer to executors.
WORKER_MIB: Final = 1024
# Less is left for no executor: Spark's own have 1 GiB unless told otherwise.
LEAST_MIB: Final = 2 * WORKER_MIB
# A typing error, not a cluster, on one engine; on Kubernetes nobody has tried more.
MOST_WORKERS: Final = 64
# Where the image has its own files; a volume there would hide them.
_OURS: Final = ("/etc", "/home/ml", "/opt", "/shared", "/tmp", "/usr")
# What every cluster sets by itself: who may connect, and to what.
_RESERVED: Final = (
    "spark.authenticate",
    "spark.deploy.recovery",
    "spark.eventLog.dir",
    "spark.master",
    "spark.network.crypto",
    "spark.ui.reverseProxy",
)

Name = Annotated[
    str, Meta(max_length=40), described("a name of small letters and digits", NAME, "team-a")
]
PortNumber = Annotated[int, Meta(ge=0)]
Setting = Annotated[str, described("one line of text", r"^[^\n\r\x00]*\Z")]
SettingName = Annotated[
    str, described("a setting of Spark", r"^spark\.\S+$", "spark.sql.shuffle.partitions")
]


class VolumeForm(Form, frozen=True):
    """A volume of the engine by its name, or a directory of its host by its path, in all nodes."""

    source: Text
    target: Annotated[str, described("a path in the container", "^/[^:]+$", "/data")]
    read_only: bool = False


class PortsForm(Form, frozen=True):
    """Where the host publishes the web pages, on 127.0.0.1; 0 stands for any port that is free."""

    ui: PortNumber = 0
    history: PortNumber = 0
    connect: PortNumber = 0
    notebook: PortNumber = 0


class ClusterForm(Form, frozen=True):
    """A Spark cluster: its image, and what its nodes have.

    ``cores``, ``memory`` (all of its container) and ``gpus`` are those of one worker. Without a
    ``flavour``, a runtime's image is that of ``core``, and an image may have any.
    """

    runtime: RuntimeId | None = None
    image: Text | None = None
    variant: VariantName = "cpu"
    flavour: FlavourName | None = None
    workers: Annotated[int, Meta(ge=1, le=MOST_WORKERS)] = 2
    cores: Annotated[int, Meta(ge=1)] = 1
    memory: Memory = "4g"
    gpus: Annotated[int, Meta(ge=0)] = 0
    history: bool = False
    connect: bool = False
    notebook: bool = False
    volumes: list[VolumeForm] | None = None
    ports: PortsForm = PortsForm()
    spark: dict[SettingName, Setting] | None = None

    @property
    def limit_mib(self) -> int:
        """Return the memory of a worker's container, in MiB."""
        return mebibytes(self.memory)

    @property
    def settings(self) -> Mapping[str, str]:
        """Return Spark's settings, in order of their names."""
        return dict(sorted((self.spark or {}).items()))


def parse_cluster(text: str, *, file: str) -> ClusterForm:
    """Read ``cluster.yaml``; raise ``InvalidDefinition`` with the place of the first mistake."""
    return cluster_form(read_yaml(text, file=file))


def cluster_form(top: Location) -> ClusterForm:
    """Return what a document says; raise its ``Location``'s error if that cannot be a cluster."""
    form = checked(ClusterForm, top)
    if (form.runtime is None) == (form.image is None):
        raise top.fail(
            "a cluster has a runtime or an image, and not both",
            hint="write `runtime: 7.0-ml`, or `image:` with a name or a digest",
        )
    if form.limit_mib < LEAST_MIB:
        raise top.get("memory").fail(
            f"{form.memory} of memory is too little for a worker",
            why="Spark's worker takes 1 GiB of it, and an executor has 1 GiB",
            hint="write 2g or more",
        )
    _settings(form, top)
    _volumes(form, top)
    _ports(form, top)
    return form


def _settings(form: ClusterForm, top: Location) -> None:
    for key in form.spark or {}:
        if key.startswith(_RESERVED):
            raise (
                top.get("spark")
                .get(key)
                .fail(
                    f"{key} is set by mlruntime",
                    why="the cluster's nodes would not find each other",
                )
            )


def _volumes(form: ClusterForm, top: Location) -> None:
    targets: set[str] = set()
    for index, volume in enumerate(form.volumes or ()):
        place = top.get("volumes").at(index)
        target = volume.target.rstrip("/")
        if target in targets:
            raise place.get("target").fail(f"{target} is listed twice")
        targets.add(target)
        if any(target == ours or target.startswith(f"{ours}/") for ours in _OURS) or not target:
            raise place.get("target").fail(
                f"a volume at {volume.target} would hide files of the image",
                hint="choose another place, for example /data",
            )
        if not re.fullmatch(r"/[^\0:]*|[A-Za-z0-9][A-Za-z0-9_.-]+", volume.source):
            raise place.get("source").fail(
                f"{volume.source!r} is neither a volume's name nor an absolute path"
            )


def _ports(form: ClusterForm, top: Location) -> None:
    given: dict[int, str] = {}
    for key in PortsForm.__struct_fields__:
        port = getattr(form.ports, key)
        if not port:
            continue
        place = top.get("ports").get(key)
        if port > 65535:
            raise place.fail(f"{port} is not a port", hint="a port is at most 65535")
        if port in given:
            raise place.fail(f"{port} is the port of {given[port]}, too")
        given[port] = key


def with_flags(
    text: str | None, file: str, flags: Mapping[str, object], *, image: str | None = None
) -> ClusterForm:
    """Return what a file says, if there is one, with what the command line says instead.

    ``flags`` are values by key of the form; those that are ``None`` were not given, and a mapping
    is added to the file's. ``image`` is the form's only where no runtime is named: what it means
    beside a runtime, the place knows.
    """
    top = read_yaml(text, file=file) if text is not None else Location({}, file=file)
    top.keys((), optional=_keys())
    given = {key: value for key, value in flags.items() if value is not None}
    merged = dict(top.value)
    for key, value in given.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = {**old, **value}
        else:
            merged[key] = value
    if "runtime" in given:
        merged.pop("image", None)
    elif image is not None and "runtime" not in merged:
        merged["image"] = image
    return cluster_form(Location(merged, file=file, error=InvalidDefinition))


def _keys() -> tuple[str, ...]:
    return ClusterForm.__struct_encode_fields__


def good_name(name: str, error: type[MlruntimeError]) -> str:
    """Return a cluster's name, or raise ``error`` when it cannot be one."""
    if not re.fullmatch(NAME, name) or len(name) > 40:
        raise error(
            f"{name!r} cannot be a cluster's name",
            why="it is part of host names: small letters, digits, dashes between them; at most 40",
            hint="for example team-a",
        )
    return name
