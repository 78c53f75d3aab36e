"""What jars cannot go with."""

from mlruntime.errors import NoCompatibleVersions


class JarConflict(NoCompatibleVersions):
    """Jars that cannot be together, or not with Spark's own."""
