"""Is this image what was released? Each question on its own, with the reason for every no."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Final, Literal

from mlruntime.documents.oci import Document
from mlruntime.errors import MlruntimeError
from mlruntime.release import questions as ask
from mlruntime.release.examined import ExaminedImage, Source
from mlruntime.release.signing import PublicKey

Status = Literal["passed", "failed", "not-run"]
Question = Callable[[ExaminedImage], str]
CLUSTER_TESTED: Final = "cluster-tested"
SUPPORTED: Final = "supported"
POLICIES: Final = (CLUSTER_TESTED, SUPPORTED)
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
_SIGNED: Final = ("signature", "release", "provenance", "test-result", "vex", *POLICIES)


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
    require: tuple[str, ...] = (),
) -> tuple[Answer, ...]:
    """Ask everything about one image. ``tag`` is the one that it was found under, if any.

    ``require`` are ``POLICIES`` that it must meet besides. Without a key nothing that is signed
    counts as passed: it is ``not-run``.
    """
    image = ExaminedImage(source=source, manifest=manifest, key=key, tag=tag)
    policies: dict[str, Question] = {
        CLUSTER_TESTED: ask.ask_cluster_tested,
        SUPPORTED: partial(ask.ask_supported, today=today),
    }
    more = ((name, question) for name, question in policies.items() if name in require)
    return tuple(_answers(image, (*_QUESTIONS, *more)))


def _answers(image: ExaminedImage, questions: Iterable[tuple[str, Question]]) -> Iterator[Answer]:
    for name, question in questions:
        try:
            told = question(image)
        except MlruntimeError as error:
            why = error.what + (f" ({error.why})" if error.why else "")
            yield Answer(name=name, status="failed", told=why)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            yield Answer(name=name, status="failed", told=f"malformed: {problem!r}"[:200])
        else:
            if name in _SIGNED and image.key is None:
                yield Answer(name=name, status="not-run", told=f"no --key was given; {told}")
            else:
                yield Answer(name=name, status="passed", told=told)
