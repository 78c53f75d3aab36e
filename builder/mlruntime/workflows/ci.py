"""Writing a repository's workflow files."""

from pathlib import Path

from mlruntime.ci.rendering import PipelineRequest, render
from mlruntime.definitions.files import Definitions
from mlruntime.store.store import storage_errors
from mlruntime.workflows.inputs import read_matrix, read_runtime


def ci_files(definitions: Definitions, service: str, wanted: PipelineRequest) -> dict[str, str]:
    """Return a service's workflow files by path; an unknown runtime is a ``UsageError``."""
    matrix = read_matrix(definitions)
    for runtime, _ in wanted.sweeps:
        definitions.folder(runtime)  # with a "did you mean"
    # What is not locked cannot be built.
    locked = (r for r in definitions.runtimes() if definitions.lock_path(r).is_file())
    every = [read_runtime(definitions, runtime, matrix) for runtime in locked]
    templates = {
        path.removeprefix("ci/"): content.decode()
        for path, content in definitions.image_files().items()
        if path.startswith("ci/")
    }
    return render(service, every, wanted, templates)


def write_ci(
    definitions: Definitions, service: str, wanted: PipelineRequest, output: Path
) -> list[str]:
    """Write the files below a folder, over those of before; return their paths there."""
    files = ci_files(definitions, service, wanted)
    with storage_errors(output, instead="name another folder with --output"):
        for name, text in files.items():
            path = output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return sorted(files)
