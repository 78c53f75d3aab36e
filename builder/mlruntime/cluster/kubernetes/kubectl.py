"""What is asked of a Kubernetes, by way of ``kubectl``: its current context, and one namespace."""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlruntime.errors import CommandFailed, Unavailable, UsageError
from mlruntime.host.command import Child, on_the_terminal, require, run

_LOG: Final = logging.getLogger(__name__)
# Kubernetes answers in less, or not at all.
_SECONDS: Final = 60.0
_NO_ANSWER: Final = (
    "Unable to connect to the server",
    "couldn't get current server API group list",
    "The connection to the server",
    "no configuration has been provided",
    "the server has asked for the client to provide credentials",
    "You must be logged in",
)
_FORBIDDEN: Final = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)"'
)
_QUOTA: Final = re.compile(r"exceeded quota: (?P<quota>[^,]+), (?P<numbers>.*)")


class NoAnswer(Unavailable):
    """Kubernetes cannot be reached, or does not know who asks."""


class NotThere(UsageError):
    """Kubernetes does not have what was asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kubectl:
    """The program, and the namespace that everything is asked in; ``None``: the context's own."""

    program: str
    environment: Mapping[str, str]
    namespace: str | None = None

    @property
    def place(self) -> str:
        """Return the namespace for people."""
        return f"namespace {self.namespace}" if self.namespace else "the context's namespace"

    def run(self, *words: str, stdin: str | None = None, seconds: float = _SECONDS) -> str:
        """Run ``kubectl`` and return what it printed.

        Raises ``NotThere``, ``UsageError`` or ``Unavailable`` in words of what went wrong.
        """
        try:
            return run(self.words(*words), stdin=stdin, env=self.environment, timeout=seconds)
        except CommandFailed as error:
            raise self._explained(error, words) from None

    def words(self, *words: str) -> Sequence[str]:
        """Return the command line of ``kubectl`` with these words."""
        where = ["--namespace", self.namespace] if self.namespace else []
        return [self.program, *where, *words]

    def get(self, *words: str) -> Any:
        """Return objects as Kubernetes has them."""
        return json.loads(self.run("get", *words, "--output", "json"))

    def items(self, kinds: str, selector: str) -> list[Any]:
        """Return objects with these labels."""
        return list(self.get(kinds, "--selector", selector)["items"])

    def must_have_namespace(self) -> None:
        """Raise ``UsageError`` when there is no such namespace: nothing is found in one, either."""
        if self.namespace is not None:
            with suppress(Unavailable):  # not everybody may look at namespaces
                self.get("namespace", self.namespace)

    def create(self, documents: Iterable[str], *, dry: bool = False) -> None:
        """Make objects, all of which must be new; ``dry``: only ask whether it would be allowed."""
        text = "\n---\n".join(documents)
        only = ("--dry-run=server",) if dry else ()
        self.run("create", "--filename", "-", *only, stdin=text)

    def interact(self, pod: str, container: str, argv: Sequence[str]) -> int:
        """Run a program in a pod on the terminal of this process; return its exit code."""
        where = (pod, f"--container={container}", "--stdin", "--tty")
        return on_the_terminal(self.words("exec", *where, "--", *argv), self.environment)

    def lines(self, *words: str) -> Iterator[str]:
        """Yield what ``kubectl`` prints, line by line, until it ends."""
        for piece in self.pieces(*words):
            yield piece.rstrip("\n")

    def pieces(self, *words: str) -> Iterator[str]:
        """Yield what ``kubectl`` prints, line by line with its end, which the last may lack."""
        child = Child(self.words(*words), env=self.environment, cwd=Path())
        said = []
        try:
            for stream, piece in child.pieces():
                if stream == "stdout":
                    yield piece
                else:
                    said.append(piece.rstrip("\n"))
            code = child.exit_code()
        finally:
            child.kill()
        if code:
            why = "\n       ".join(said[-12:])
            error = CommandFailed(f"kubectl exited with {code}", why=why or "no output")
            raise self._explained(error, words)

    def _explained(self, error: CommandFailed, words: Sequence[str]) -> Unavailable | UsageError:
        why = error.why or ""
        _LOG.debug("kubectl %s: %s", words, why)
        if any(sign in why for sign in _NO_ANSWER):
            return NoAnswer(
                "Kubernetes does not answer",
                why=_last(why),
                hint="`kubectl cluster-info` says whether it can be reached; "
                "`kubectl config current-context` which one it is",
            )
        if found := re.search(r'namespaces "([^"]+)" not found', why):
            return UsageError(
                f"there is no namespace {found[1]}",
                hint=f"make it: `kubectl create namespace {found[1]}`, or name one: --namespace",
            )
        if found := _FORBIDDEN.search(why):
            return Unavailable(
                f"{found['user']} may not {found['verb']} {found['resource']} in {self.place}",
                hint="ask for the role `edit` there; `kubectl auth can-i --list` shows yours",
            )
        if quota := exceeded(why):
            return quota
        if found := re.search(r'(\w+)[^\s]* "([^"]+)" already exists', why):
            return UsageError(
                f"{self.place} has {found[1]} {found[2]} already",
                hint="take another name, or remove it",
            )
        if "(NotFound)" in why:
            return NotThere(_last(why))
        return error


def exceeded(text: str) -> Unavailable | None:
    """Return the error for a quota that was too small, if a message is about one."""
    if (found := _QUOTA.search(text)) is None:
        return None
    return Unavailable(
        f"quota {found['quota']} of the namespace is too small",
        why=found["numbers"].strip(),
        hint="fewer workers, or less for each: --workers, --cores, --memory",
    )


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def kubectl(environment: Mapping[str, str], namespace: str | None = None) -> Kubectl:
    """Return ``kubectl`` of this host; ``Unavailable`` when it is not installed."""
    program = require("kubectl", hint="https://kubernetes.io/docs/tasks/tools says how to get it")
    return Kubectl(program=program, environment=environment, namespace=namespace)
