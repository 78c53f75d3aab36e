"""Workflow files from the definitions and ``images/ci/``: text in, text out.

A template's delimiters are ``[[ ]]``, ``[% %]`` and ``[# #]``: ``{{ }}`` is GitHub's own.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jinja2

from mlruntime.ci.actions import ACTIONS
from mlruntime.definitions.runtime import RuntimeDefinition
from mlruntime.errors import InvalidDefinition, UsageError
from mlruntime.lock.model import CORE, tag

SERVICES: Final = ("github", "gitlab")
# GitHub's image of its runners that has a Docker engine; GitLab has no label that all know.
RUNNERS: Final = {"github": "ubuntu-24.04", "gitlab": None}
_FOLDERS: Final = {"github": ".github/workflows/", "gitlab": ".gitlab/"}
_RUNTIME: Final = "RUNTIME"
_RELEASE: Final = "release"
# What goes into files of another language is of characters that mean nothing there.
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_REGISTRY: Final = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+")
_PINNED: Final = re.compile(r"[a-z0-9][a-zA-Z0-9.:/_-]*@sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineImage:
    """One image that the pipeline builds and validates."""

    runtime: str
    variant: str
    flavour: str

    @property
    def tag(self) -> str:
        """Return what the image's tag has after the runtime: ``cpu-ml``."""
        return tag(self.variant, self.flavour)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRequest:
    """What a pipeline is told besides the definitions.

    ``version`` is that of mlruntime, for PyPI; ``requirements`` a file of the repository with
    hashes to install from instead. Without ``registry`` (HOST/REPO) there is no release.
    ``runner`` and ``gpu_runner`` are labels of machines. ``sweeps`` are files of axes to
    explore, by runtime. ``image`` (NAME@DIGEST) is what GitLab's jobs run in.
    """

    version: str
    branch: str = "main"
    requirements: str | None = None
    registry: str | None = None
    runner: str | None = None
    gpu_runner: str | None = None
    sweeps: tuple[tuple[str, str], ...] = ()
    image: str | None = None

    def must_be_plain(self, service: str) -> None:
        """Raise ``UsageError`` for what a workflow file could take for something else."""
        sweeps = [("--sweep", path) for _, path in self.sweeps]
        for option, text in (
            ("--branch", self.branch),
            ("--requirements", self.requirements),
            ("--runner", self.runner),
            ("--gpu-runner", self.gpu_runner),
            *sweeps,
        ):
            if text is not None and not (_PLAIN.fullmatch(text) and ".." not in text):
                raise UsageError(
                    f"{text!r} cannot be in a workflow file",
                    where=option,
                    hint="letters, digits, and . _ / - between them; a path within the repository",
                )
        if self.registry is not None and not _REGISTRY.fullmatch(self.registry):
            raise UsageError(
                f"{self.registry!r} is not a repository of a registry",
                where="--registry",
                hint="HOST/REPO, such as registry.example.org/ml",
            )
        if service != "gitlab" and self.image is not None:
            raise UsageError("--image is for GitLab", hint="on GitHub, --runner says where")
        if service == "gitlab" and not (self.image and _PINNED.fullmatch(self.image)):
            raise UsageError(
                "GitLab's jobs run in an image, and it must be named with its digest",
                where="--image",
                why="a tag may be another image tomorrow",
                hint="NAME@sha256:… of an image with Python 3.11 or newer, git, bash and docker",
            )


def images(definitions: Iterable[RuntimeDefinition]) -> tuple[PipelineImage, ...]:
    """Return every image that the definitions have: variants, and flavours of each."""
    return tuple(
        PipelineImage(runtime=one.runtime, variant=variant, flavour=flavour)
        for one in definitions
        for variant in one.variants
        for flavour in (CORE, *(added.name for added in one.flavours))
    )


def render(
    service: str,
    definitions: Iterable[RuntimeDefinition],
    wanted: PipelineRequest,
    templates: Mapping[str, str],
) -> dict[str, str]:
    """Return the workflow files by path in the repository.

    ``templates`` are those below ``images/ci``. One with RUNTIME in its name is rendered for each
    runtime; one with "release" in its name only when there is a registry. Raises ``UsageError``
    for what does not fit into such a file, ``InvalidDefinition`` for a template with a mistake.
    """
    wanted.must_be_plain(service)
    built = images(definitions)
    known = variables(service, built, wanted)
    environment = _environment(templates)
    found: dict[str, str] = {}
    for path in sorted(templates):
        folder, _, name = path.partition("/")
        if folder != service or not name.endswith(".yml.j2"):
            continue
        if _RELEASE in name and wanted.registry is None:
            continue
        target = _FOLDERS[service] + name.removesuffix(".j2")
        for runtime in known["runtimes"] if _RUNTIME in name else [None]:
            ours = [i for i in built if i.runtime == runtime or runtime is None]
            text = _rendered(environment, path, {**known, "runtime": runtime, "images": ours})
            found[target.replace(_RUNTIME, runtime or "")] = text
    if not found:
        raise InvalidDefinition(f"images/ci/{service} has no templates")
    return found


def variables(
    service: str, built: tuple[PipelineImage, ...], wanted: PipelineRequest
) -> dict[str, Any]:
    """Return what every template may use."""
    runner = wanted.runner or RUNNERS[service]
    install = (
        f"--require-hashes --requirement {shlex.quote(wanted.requirements)}"
        if wanted.requirements
        else f"'mlruntime[release]=={wanted.version}'"
    )
    host = (wanted.registry or "").partition("/")[0]
    return {
        "actions": {name: str(action) for name, action in ACTIONS.items()},
        "branch": wanted.branch,
        "install": install,
        "registry": wanted.registry,
        "host": host,
        "ghcr": host == "ghcr.io",
        "runtimes": sorted({image.runtime for image in built}),
        "sweeps": list(wanted.sweeps),
        "runner": runner,
        "runners": {"cpu": runner, "gpu": wanted.gpu_runner or runner},
        "image": wanted.image,
    }


def _environment(templates: Mapping[str, str]) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.DictLoader(dict(templates)),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
    )


def _rendered(environment: jinja2.Environment, path: str, known: Mapping[str, Any]) -> str:
    try:
        return environment.get_template(path).render(known)
    except jinja2.TemplateSyntaxError as error:
        where = f"images/ci/{error.name or path}:{error.lineno}"
        raise InvalidDefinition(str(error.message), where=where) from None
    except jinja2.TemplateNotFound as error:
        raise InvalidDefinition(
            f"there is no template {error}", where=f"images/ci/{path}"
        ) from None
    except jinja2.UndefinedError as error:
        raise InvalidDefinition(str(error), where=f"images/ci/{path}") from None
