"""Whether this host still runs an environment that is there."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlruntime.doctor.environments import Answered, Needs, examine_environment, features_of
from mlruntime.doctor.findings import Finding
from mlruntime.doctor.gpus import Judgement, judge
from mlruntime.environment.description import Description, read_description, read_lock_of
from mlruntime.environment.host import MACHINE
from mlruntime.errors import CommandFailed
from mlruntime.host.command import run
from mlruntime.host.gpus import HostGpus, NoGpus
from mlruntime.host.system import System
from mlruntime.lock.contract import HostContract
from mlruntime.lock.model import Lock

_SECONDS: Final = 30.0
_VERSION: Final = "import platform; print(platform.python_version())"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExaminedEnvironment:
    """An environment beside its host.

    ``virtual`` are the host's virtual packages; ``contract`` is what the environment asks of GPUs.
    """

    environment: Description
    findings: tuple[Finding, ...]
    virtual: dict[str, str]
    contract: HostContract | None
    judgement: Judgement

    @property
    def able(self) -> bool:
        """Tell whether the host can run it."""
        found = all(f.status == "ok" for f in self.findings if f.needed)
        return found and self.judgement.able


def examine_here(
    root: Path, system: System, read_gpus: Callable[[], HostGpus | NoGpus]
) -> ExaminedEnvironment:
    """Look at an environment and this host; its Python and its Java are started, nothing else."""
    found = read_description(root)
    lock = read_lock_of(root)
    gpus = read_gpus()
    contract = lock.variant(found.variant).contract
    repair = f"mlruntime env repair {shlex.quote(str(root))}"
    findings = examine_environment(
        _needs(found, lock), system, _python(root), _java(found, root), repair
    )
    return ExaminedEnvironment(
        environment=found,
        findings=(*findings, *_moved(found, root, repair)),
        virtual=dict(system.virtual_packages(gpus.cuda if isinstance(gpus, HostGpus) else None)),
        contract=contract,
        judgement=judge(contract, gpus) if contract else Judgement(needed=False),
    )


def _needs(found: Description, lock: Lock) -> Needs:
    components = dict(lock.components_of(found.variant))
    return Needs(
        machine=MACHINE,
        features=features_of(components),
        glibc=found.glibc,
        python=found.minor,
        java=components.get("java", "") if "JAVA_HOME" in found.variables else "",
    )


def _python(root: Path) -> Answered:
    return _said([root / "bin" / "python", "-I", "-c", _VERSION])


def _java(found: Description, root: Path) -> Answered:
    home = found.settings(root).set.get("JAVA_HOME")
    if home is None:
        return Answered()
    told = _said([Path(home) / "bin" / "java", "-Xshare:auto", "--version"])
    # "openjdk 17.0.17 2026-10-20": the product, its version, its date.
    words = told.version.split()
    return Answered(version=words[1]) if len(words) > 1 else told


def _said(words: list[str | Path]) -> Answered:
    """Return the first line that a program prints."""
    try:
        lines = run(words, timeout=_SECONDS).splitlines()
    except CommandFailed as problem:
        why = (problem.why or "").splitlines()
        return Answered(trouble=f"{problem.what}: {why[0]}" if why else problem.what)
    return Answered(version=lines[0].strip()) if lines else Answered(trouble="it says nothing")


def _moved(found: Description, root: Path, repair: str) -> tuple[Finding, ...]:
    """Say where it was made if that is elsewhere: `activate` has that place written into it."""
    if found.path == str(root):
        return ()
    return (
        Finding(
            name="place",
            status="missing",
            found=f"it was made in {found.path}, where `activate` still leads to",
            needed=False,
            hint=f"`{repair}`",
        ),
    )
