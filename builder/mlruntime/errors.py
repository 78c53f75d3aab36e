"""All errors that are not bugs of mlruntime, with their exit codes.

May import nothing of mlruntime.

Each class fixes the exit code the command line contract promises. Only ``mlruntime.cli``
prints one of these or exits; everything else raises or lets pass.
"""


class MlruntimeError(Exception):
    """Something a user, a file, a host or a registry caused.

    ``what`` went wrong, ``where`` it was found (``matrix.yaml: rules[12].requires``),
    ``why`` (the cause in one sentence) and ``hint`` (what to try); all but ``what`` optional.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.why:
            lines.append(f"  why: {self.why}")
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return "\n".join(lines)


class UsageError(MlruntimeError):
    """An argument that means nothing: an unknown runtime, variant or check."""

    exit_code = 2


class NoCompatibleVersions(MlruntimeError):
    """The request and the matrix have no common solution."""

    exit_code = 3


class InvalidDefinition(MlruntimeError):
    """``matrix.yaml``, ``runtime.yaml``, ``layers.yaml`` or a recipe says something impossible."""

    exit_code = 4


class InvalidLock(MlruntimeError):
    """A lock that cannot be read, or that no longer follows from what made it."""

    exit_code = 4


class HashMismatch(MlruntimeError):
    """An artifact's bytes are not the ones that were locked."""

    exit_code = 5


class Damaged(HashMismatch):
    """A file was damaged after it had been stored: the cause is on this host."""


class Unavailable(MlruntimeError):
    """The engine, a registry, the network or a needed host tool is not available."""

    exit_code = 6


class ArtifactNotFound(Unavailable):
    """A registry answered, and said that it does not have this artifact."""


class StorageError(Unavailable):
    """A disk takes no more: it is full, read-only, or not to be written by this user."""


class CommandFailed(Unavailable):
    """A host tool ran and reported failure."""


class ValidationFailed(MlruntimeError):
    """At least one check failed."""

    exit_code = 7


class ValidationIncomplete(MlruntimeError):
    """No check failed, but at least one could not be run."""

    exit_code = 8
