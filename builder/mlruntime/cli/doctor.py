"""``mlruntime doctor``."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mlruntime.cli.context import Context
from mlruntime.cli.output import emit
from mlruntime.definitions.files import Definitions, read_text
from mlruntime.doctor.findings import Finding, can_build, examine
from mlruntime.doctor.gpus import (
    Judgement,
    Verdict,
    judge,
)
from mlruntime.errors import InvalidDefinition, Unavailable, UsageError
from mlruntime.host.gpus import (
    HostGpus,
    NoGpus,
)
from mlruntime.host.nvml import read_gpus
from mlruntime.image.layout import is_layout, read_labels
from mlruntime.lock.contract import HostContract, contract_of_labels, parse_contract
from mlruntime.workflows.inputs import support, support_warning
from mlruntime.workflows.locked import read_lock
from mlruntime.workflows.store.stores import host_sources, store_root


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor")(doctor)


def doctor(
    ctx: typer.Context,
    runtime: Annotated[
        str | None,
        typer.Argument(metavar="[RUNTIME]", help="the runtime that this host should run"),
    ] = None,
    variant: Annotated[str, typer.Option(metavar="VARIANT", help="cpu or gpu")] = "cpu",
    contract: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="the image that it should run: host-contract.json or OCI layout"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as JSON")] = False,
) -> None:
    """Show what this host can do, and how to get what is missing.

    With a runtime or a contract: whether this host can run it, before anything is pulled.
    """
    context: Context = ctx.obj
    definitions = Definitions(context.root)
    question = _question(definitions, runtime, variant, contract)
    gpus = read_gpus()
    findings = examine(store_root(), lambda: host_sources(context.ca_bundle), gpus)
    value: dict[str, Any] = {
        "cpu": can_build(findings),
        "findings": [finding.to_dict() for finding in findings],
        "gpus": gpus.to_dict() if isinstance(gpus, HostGpus) else None,
    }
    text = table(findings)
    able = can_build(findings)
    if question is not None:
        answer = question.answer(gpus)
        value["runs"] = answer.to_dict()
        text = f"{text}\n\n{answer.to_text()}"
        if runtime is not None:
            told, value["support"] = supported(definitions, runtime, datetime.now(UTC).date())
            text = f"{text}\n{told}" if told else text
        able = answer.judgement.able
    else:
        value["warnings"] = ended = list(ended_support(definitions, datetime.now(UTC).date()))
        text = "\n".join([text, *(f"warning: {line}" for line in ended)])
    emit(value, text, as_json)
    if not able:
        raise typer.Exit(Unavailable.exit_code)


def ended_support(definitions: Definitions, today: date) -> Iterator[str]:
    """Yield a warning for each runtime whose support has ended."""
    for runtime in definitions.runtimes():
        with suppress(InvalidDefinition):  # this is about the host: who uses the runtime is told
            if warning := support_warning(definitions, runtime, today):
                yield warning


def supported(
    definitions: Definitions, runtime: str, today: date
) -> tuple[str | None, dict[str, Any] | None]:
    """Return a warning for people if a runtime's support has ended, and its dates as JSON."""
    found = support(definitions, runtime)
    if found is None:
        return None, None
    warning = found.warning(runtime, today)
    return (f"warning: {warning}" if warning else None), found.to_dict() | {"warning": warning}


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractAnswer:
    """Whether this host can run what was asked for."""

    subject: str
    contract: HostContract | None
    judgement: Judgement

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "subject": self.subject,
            "able": self.judgement.able,
            "contract": self.contract.to_dict() if self.contract else None,
            "devices": [device.uuid for device in self.judgement.devices],
            "verdicts": [verdict.to_dict() for verdict in self.judgement.verdicts],
        }

    def to_text(self) -> str:
        """Return the answer for people."""
        can = "can" if self.judgement.able else "cannot"
        rows = [f"this host {can} run {self.subject}"]
        rows += [row for verdict in self.judgement.verdicts for row in verdict_rows(verdict)]
        return "\n".join(rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractQuestion:
    """What was asked about; without a contract it needs no GPU."""

    subject: str
    contract: HostContract | None

    def answer(self, gpus: HostGpus | NoGpus) -> ContractAnswer:
        """Compare it with this host."""
        judgement = Judgement(needed=False) if self.contract is None else judge(self.contract, gpus)
        return ContractAnswer(subject=self.subject, contract=self.contract, judgement=judgement)


def _question(
    definitions: Definitions, runtime: str | None, variant: str, file: Path | None
) -> ContractQuestion | None:
    if runtime is not None and file is not None:
        raise UsageError(
            "a runtime and --contract cannot be used together", hint="give one of them"
        )
    if file is not None:
        return ContractQuestion(subject=str(file), contract=_read(file))
    if runtime is not None:
        contract = locked_contract(definitions, runtime, variant)
        return ContractQuestion(subject=f"{runtime} ({variant})", contract=contract)
    if variant != "cpu":
        raise UsageError(f"--variant {variant} of which runtime?", hint="name one, or --contract")
    return None


def locked_contract(definitions: Definitions, runtime: str, variant: str) -> HostContract | None:
    """Return what a locked variant asks of GPUs; ``None`` for one that needs none."""
    return read_lock(definitions, runtime).variant(variant).contract


def _read(file: Path) -> HostContract | None:
    if not file.exists():
        raise UsageError(f"there is no {file}", hint="give a host-contract.json or an OCI layout")
    if not file.is_dir():
        return parse_contract(read_text(file, str(file)), file=str(file))
    if not is_layout(file):
        raise UsageError(f"{file} is not an OCI layout", why="it has no file oci-layout")
    return contract_of_labels(read_labels(file), file=str(file))


def verdict_rows(verdict: Verdict) -> Iterator[str]:
    """Yield a verdict for people."""
    yield f"  {verdict.about}: {verdict.what}"
    if verdict.why:
        yield f"    why: {verdict.why}"
    if verdict.hint:
        yield f"    try: {verdict.hint}"


def table(findings: Sequence[Finding]) -> str:
    """Return the findings of a host that builds images, for people."""
    able = can_build(findings)
    end = "CPU images can be built here" if able else "CPU images cannot be built here yet"
    return "\n".join([*finding_rows(findings, "CPU builds do without"), "", end])


def finding_rows(findings: Iterable[Finding], dispensable: str) -> Iterator[str]:
    """Yield findings for people; ``dispensable`` says of one that is missing that it may be."""
    for finding in findings:
        optional = "" if finding.needed or finding.status == "ok" else f" ({dispensable})"
        yield f"{finding.name:<13} {finding.status:<8} {finding.found}{optional}"
        if finding.hint:
            yield f"{'':<22} try: {finding.hint}"
