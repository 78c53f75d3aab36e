"""The form of ``matrix.yaml``: which keys it has, and what their values look like."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from msgspec import Meta

from mlruntime.documents.schema import Form, Text, described
from mlruntime.matrix.model import Evidence, Pin, VariantName
from mlruntime.matrix.origins import Origin

ComponentName = Annotated[
    str, described("a component name", "^[a-z][a-z0-9]*(-[a-z0-9]+)*$", "tf-keras")
]
RuleId = Annotated[
    str, described("a rule id", "^[a-z][a-z0-9]*([.-][a-z0-9]+)*$", "tensorflow-2.15-python")
]
Source = Annotated[
    str,
    described(
        "a source",
        "^(https?://|pkg:|measured: |explored: )",
        "https://…, pkg:pypi/NAME@VERSION, or 'measured: ' and what was done",
    ),
]
Exclusion = Annotated[
    str,
    described(
        "which dependencies are left out, GROUP:ARTIFACT",
        r"^(\*|[A-Za-z0-9_][A-Za-z0-9_.-]*):(\*|[A-Za-z0-9_][A-Za-z0-9_.-]*)$",
        "software.amazon.awssdk:bundle",
    ),
]
# Not ``Text``: msgspec reads freed memory where a union has a list and a ``str`` with a pattern
# (its issue 717). ``RuleReader`` refuses what is empty.
Terms = dict[str, str | Annotated[list[Text], Meta(min_length=1)]]


class ArtifactTemplateForm(Form, frozen=True):
    """What a component is called in a registry."""

    origin: Origin
    name: Text
    variants: list[VariantName] | None = None
    provides: list[Text] | None = None
    extras: list[Text] | None = None
    pin: Pin | None = None
    releases: Text | None = None
    excludes: list[Exclusion] | None = None


class ComponentForm(Form, frozen=True):
    """One thing with versions: it has ``releases``, or those of the component it is ``part-of``."""

    title: Text
    summary: Text
    releases: Annotated[list[Text], Meta(min_length=1)] | None = None
    part_of: Text | None = None
    artifacts: list[ArtifactTemplateForm] | None = None
    on_request: bool | None = None
    variants: list[VariantName] | None = None


class RuleForm(Form, frozen=True):
    """Which releases go together: when all of ``when`` are present, ``requires``, ``conflicts``.

    A rule that names where a component is ``delivered`` from is about those packages of it alone.
    """

    id: RuleId
    says: Text
    when: Annotated[Terms, Meta(min_length=1)]
    evidence: Evidence
    source: Source
    date: Text
    requires: Terms | None = None
    conflicts: Terms | None = None
    delivered: dict[ComponentName, Origin] | None = None


class MatrixForm(Form, frozen=True):
    """The compatibility facts: components, their releases, and the rules between them."""

    FORMER: ClassVar[Mapping[str, str]] = {"edges": "rules"}

    components: dict[ComponentName, ComponentForm]
    preference: list[Text]
    rules: list[RuleForm]
