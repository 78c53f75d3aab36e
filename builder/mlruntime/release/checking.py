"""Is this image what was released? Each question on its own, with the reason for every no."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Final, Literal

from mlruntime.documents.oci import Document
from mlruntime.errors import MlruntimeError
from mlruntime.release import questions as ask
from mlruntime.release.channels import misnamed_index
from mlruntime.release.examined import ExaminedImage, Source, must_be_signed
from mlruntime.release.publishing import VERSION
from mlruntime.release.signing import PublicKey

Status = Literal["passed", "failed", "not-run"]
Question = Callable[[ExaminedImage], str]
CLUSTER_TESTED: Final = "cluster-tested"
SUPPORTED: Final = "supported"
INDEX: Final = "index"
FROM_COMMIT: Final = "from-commit"
KEYLESS: Final = "keyless"
POLICIES: Final = (CLUSTER_TESTED, SUPPORTED, FROM_COMMIT, KEYLESS)
# What nobody can ask yet, and why: an answer all the same, so that it never passes unseen.
_NOT_ASKED: Final = {
    KEYLESS: "keyless signatures need Fulcio and Rekor, services that this mlruntime does not use:"
    " releases are signed with keys"
}
_QUESTIONS: Final[tuple[tuple[str, Question], ...]] = (
    ("image", ask.ask_layers),
    ("signature", ask.ask_signature),
    ("release", ask.ask_release),
    ("documents", ask.ask_documents),
    ("lock", ask.ask_lock),
    ("provenance", ask.ask_provenance),
    ("sbom", ask.ask_sbom),
    ("test-result", ask.ask_test_result),
    ("vex", ask.ask_vex),
)
# All else rests on the release's statement, or on another signature: without a key, on nothing.
_NEEDS_NO_KEY: Final = ("image",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answer to one question; ``told`` is what was found, or why it is not so."""

    name: str
    status: Status
    told: str


def check(
    source: Source,
    manifest: Document,
    *,
    key: PublicKey | None,
    today: date,
    tag: str | None = None,
    entry: str | None = None,
    require: tuple[str, ...] = (),
) -> tuple[Answer, ...]:
    """Ask everything about one image.

    ``tag`` is the one that it was found under, if any, ``entry`` what the index there calls it.
    ``require`` are ``POLICIES`` that it must meet besides. Without a key nothing that is signed,
    or rests on a signed statement, counts as passed: it is ``not-run``.
    """
    image = ExaminedImage(source=source, manifest=manifest, key=key, tag=tag, entry=entry)
    policies: dict[str, Question] = {
        CLUSTER_TESTED: ask.ask_cluster_tested,
        SUPPORTED: partial(ask.ask_supported, today=today),
        FROM_COMMIT: ask.ask_from_commit,
    }
    more = ((name, question) for name, question in policies.items() if name in require)
    unasked = (
        Answer(name=name, status="not-run", told=why)
        for name, why in _NOT_ASKED.items()
        if name in require
    )
    return (*_answers(image, (*_QUESTIONS, *more)), *unasked)


def check_index(
    source: Source, index: Document, *, key: PublicKey | None, tag: str | None = None
) -> Answer:
    """Ask whether an index is the one that was released; its images are asked one by one.

    Two versions may share images, so what these say does not tell whether it is the ``tag``'s.
    """
    return _answer(INDEX, partial(_ask_index, source, index, key, tag), key)


def _ask_index(source: Source, index: Document, key: PublicKey | None, tag: str | None) -> str:
    must_be_signed(source, index.digest, key)
    said = index.parsed()
    if problem := misnamed_index(tag, str(said["annotations"][VERSION])):
        raise problem
    return f"{index.digest}, {len(said['manifests'])} images"


def _answers(image: ExaminedImage, questions: Iterable[tuple[str, Question]]) -> Iterator[Answer]:
    for name, question in questions:
        yield _answer(name, partial(question, image), image.key)


def _answer(name: str, ask_it: Callable[[], str], key: PublicKey | None) -> Answer:
    try:
        told = ask_it()
    except MlruntimeError as error:
        why = error.what + (f" ({error.why})" if error.why else "")
        return Answer(name=name, status="failed", told=why)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        return Answer(name=name, status="failed", told=f"malformed: {problem!r}"[:200])
    if key is None and name not in _NEEDS_NO_KEY:
        return Answer(name=name, status="not-run", told=f"no --key was given; {told}")
    return Answer(name=name, status="passed", told=told)
