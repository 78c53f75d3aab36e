"""``mlruntime verify``: is this what was released?"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.output import emit
from mlruntime.cli.registry import opened
from mlruntime.documents.reading import did_you_mean
from mlruntime.documents.tables import Table, plain
from mlruntime.errors import UsageError
from mlruntime.image.layout import entries, is_layout, name_of
from mlruntime.release.checking import POLICIES, Answer
from mlruntime.release.examined import Source
from mlruntime.release.sources import LayoutSource, RegistrySource, pull
from mlruntime.store.store import Store
from mlruntime.validation.report import MARKS
from mlruntime.workflows.release.verifying import Verified
from mlruntime.workflows.release.verifying import verify as verify_all
from mlruntime.workflows.signing import verifying_key
from mlruntime.workflows.store.stores import store_root


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("verify")(verify)


def verify(
    ctx: typer.Context,
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REF|LAYOUT",
            help="HOST/REPO:TAG, HOST/REPO@DIGEST, or an OCI layout: DIRECTORY[:NAME]",
        ),
    ],
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the publisher's public key")
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POLICY", help="cluster-tested, supported, from-commit or keyless; repeatable"
        ),
    ] = None,
    whole: Annotated[bool, typer.Option("--pull", help="also pull and hash every layer")] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="write image and documents into an OCI layout"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as JSON")] = False,
) -> None:
    """Check the signature and documents of a released image.

    Among the documents are lock, provenance, SBOM and test result.
    """
    for policy in require or ():
        if policy not in POLICIES:
            raise UsageError(f"there is no policy {policy!r}", hint=did_you_mean(policy, POLICIES))
    public = verifying_key(key) if key is not None else None
    context: Context = ctx.obj
    today = datetime.now(UTC).date()
    with _source(reference, context, whole, output) as (source, name, tag):
        found = verify_all(
            source, name, key=public, today=today, tag=tag, require=tuple(require or ())
        )
    emit(_value(reference, found), _text(found), as_json)
    if code := _code(found):
        raise typer.Exit(code)


@contextmanager
def _source(
    reference: str, context: Context, whole: bool, output: Path | None
) -> Iterator[tuple[Source, str, str | None]]:
    """Yield where to read from, what to read there, and the tag that was asked for."""
    directory, _, name = reference.partition(":")
    if Path(reference).is_dir():
        directory, name = reference, ""
    if is_layout(Path(directory)):
        name = name or _only(Path(directory))
        yield LayoutSource(Path(directory)), name, None if "sha256:" in name else name
        return
    if Path(directory).is_dir():
        raise UsageError(f"{directory} is not an OCI layout", why="it has no file oci-layout")
    with (
        opened(reference, context.ca_bundle) as (repository, target),
        Store(store_root()).scratch() as scratch,
    ):
        wanted = target.digest or target.tag
        if wanted is None:
            raise UsageError(f"{reference} names no image", hint="add :TAG or @DIGEST")
        if output is None:
            source = RegistrySource(repository, scratch if whole else None)
            yield source, wanted, target.tag
            return
        manifest = repository.manifest(wanted)
        if manifest is None:
            raise UsageError(f"there is no {reference}")
        pull(repository, manifest, target.tag or manifest.digest, output)
        yield LayoutSource(output), manifest.digest, target.tag


def _only(directory: Path) -> str:
    """Return the name of the only image of a layout, or its digest."""
    named = [n for e in entries(directory) if (n := name_of(e)) and not n.startswith("sha256-")]
    if len(named) == 1:
        return named[0]
    every = [str(e.get("digest").text()) for e in entries(directory)]
    if not named and len(every) == 1:
        return every[0]
    raise UsageError(
        f"{directory} holds several images", hint=f"name one: {directory}:NAME ({', '.join(named)})"
    )


def _code(found: Verified) -> int:
    statuses = {answer.status for answer in found.answers}
    return 7 if "failed" in statuses or not statuses else 8 if "not-run" in statuses else 0


def _value(reference: str, found: Verified) -> dict[str, Any]:
    return {
        "reference": reference,
        "index": _said(found.index) if found.index else None,
        "images": [
            {"name": name, "answers": [_said(answer) for answer in answers]}
            for name, answers in found.images
        ],
    }


def _said(answer: Answer) -> dict[str, str]:
    return {"name": answer.name, "status": answer.status, "told": answer.told}


def _text(found: Verified) -> str:
    index = [("all", found.index)] if found.index else []
    every = [(name, answer) for name, answers in found.images for answer in answers]
    rows = tuple((name, a.name, MARKS[a.status], a.told) for name, a in (*index, *every))
    return plain(Table(title="", columns=("image", "question", "answer", "told"), rows=rows))
