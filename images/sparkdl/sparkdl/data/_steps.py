"""How many steps every rank can take."""


def equal_steps(steps: int) -> int:
    """Return the smallest ``steps`` of all ranks, having asked them; every rank must call it.

    For data whose ranks have different numbers of batches: with
    ``fit(dataset.repeat(), steps_per_epoch=equal_steps(own))`` no rank waits in an allreduce for
    one that has run out. Horovod must be initialised. Raises ``DataError`` on every rank when
    one has no batch at all.
    """
    import horovod.tensorflow as hvd

    from sparkdl.data._errors import DataError

    everyone = hvd.allgather_object(int(steps), name="sparkdl.equal_steps")
    if min(everyone) < 1:
        raise DataError(f"rank {everyone.index(min(everyone))} has no batch: all must have one")
    return min(everyone)
