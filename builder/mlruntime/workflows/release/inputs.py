"""What a release is judged by: reports, advisories, and the policy of the definitions."""

import io
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mlruntime.definitions.files import Definitions, read_bytes, read_text
from mlruntime.errors import InvalidDefinition, UsageError
from mlruntime.release.advisories import Known, parse_advisories
from mlruntime.release.policy import POLICY_FILE, Policy, parse_policy
from mlruntime.validation.reading import ReportSummary, parse_report


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """A report: what it says, its text, and the file."""

    outcome: ReportSummary
    text: str
    file: str


def read_reports(files: Iterable[Path]) -> tuple[Reported, ...]:
    """Return the reports in some files; two of the same image are a ``UsageError``."""
    found: dict[tuple[str, str, str], Reported] = {}
    for path in files:
        text = read_text(path, str(path), InvalidDefinition)
        outcome = parse_report(text, file=str(path))
        key = (outcome.runtime, outcome.variant, outcome.lock)
        if key in found:
            raise UsageError(
                f"two reports of {outcome.runtime}, {outcome.variant}",
                why=f"{found[key].file} and {path}",
                hint="name the one of the image that is to be released",
            )
        found[key] = Reported(outcome=outcome, text=text, file=str(path))
    return tuple(found.values())


def read_advisories(paths: Iterable[Path]) -> Known | None:
    """Return the advisories in files of JSON, directories and zip archives; none without any."""
    found: list[tuple[str, bytes]] = []
    named = list(paths)
    for path in named:
        files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        for file in files:
            content = read_bytes(file, str(file))
            if file.suffix != ".zip":
                found.append((str(file), content))
                continue
            try:
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    named_json = [n for n in archive.namelist() if n.endswith(".json")]
                    found += [(f"{file}: {n}", archive.read(n)) for n in named_json]
            except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as problem:
                raise InvalidDefinition(
                    "not a zip archive of advisories", where=str(file), why=str(problem)
                ) from None
    return parse_advisories(found) if named else None


def read_policy(definitions: Definitions) -> Policy:
    """Return ``release.yaml`` of the definitions; without one, nothing may be left unrun."""
    path = definitions.root / POLICY_FILE
    if not path.is_file():
        return Policy()
    return parse_policy(read_text(path, POLICY_FILE), file=POLICY_FILE)
