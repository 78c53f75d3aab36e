"""Which clusters cannot run ranks together, told before anything is started."""

from collections.abc import Callable

from sparkdl._errors import UnsuitableCluster


def require_suitable(setting: Callable[[str], str | None]) -> None:
    """Raise ``UnsuitableCluster`` if the application's settings rule a barrier stage out."""
    if _on(setting("spark.dynamicAllocation.enabled")):
        raise UnsuitableCluster(
            "Spark's dynamic allocation is on, and ranks must all start at once, which Spark "
            "does not offer with it. Start the application with "
            "spark.dynamicAllocation.enabled=false and spark.executor.instances (or "
            "spark.cores.max) set."
        )
    held = float(setting("spark.executor.resource.gpu.amount") or 0)
    asked = float(setting("spark.task.resource.gpu.amount") or 0)
    if held and not asked:
        raise UnsuitableCluster(
            f"executors have {held:g} GPUs each, but tasks ask for none, so ranks would train on "
            "the CPU. Start the application with spark.task.resource.gpu.amount=1."
        )
    if asked and asked != 1:
        raise UnsuitableCluster(
            f"spark.task.resource.gpu.amount is {asked:g}: every rank needs exactly one GPU of its "
            "own. Start the application with spark.task.resource.gpu.amount=1."
        )


def _on(value: str | None) -> bool:
    return value is not None and value.strip().lower() == "true"
