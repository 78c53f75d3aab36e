"""Elastic state: what is committed comes back, what rank 0 has reaches all."""

from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import ranks
import tensorflow as tf
from ranks import check, data, dense, distributed, fit


def slots(model: Any) -> Any:
    variables = model.optimizer.variables
    variables = variables() if callable(variables) else variables
    return ranks.flat([np.asarray(tf.convert_to_tensor(one)) for one in variables])


@check(both=True)
def commit_restore_and_sync(api: Any) -> None:
    """Weights, slots and the user's own values; first apart, then together."""
    problem, model = data(), dense(api, seed=40 + hvd.rank())
    model.compile(api.keras.optimizers.Adam(0.05), "mse")
    fit(model, problem.mine, ranks.PER_RANK, epochs=1)  # no Horovod: each rank alone
    state = api.hvd.elastic.KerasState(model, epoch=hvd.rank(), batch=0)
    kept, kept_slots = ranks.flat(model), slots(model)
    fit(model, problem.mine, ranks.PER_RANK, epochs=1)
    state.epoch = 99
    assert abs(ranks.flat(model) - kept).max() > 1e-3
    state.restore()
    ranks.close("weights", ranks.flat(model), kept, within=0)
    ranks.close("slots", slots(model), kept_slots, within=0)
    assert state.epoch == hvd.rank()
    first, first_slots = ranks.everywhere(kept)[0], ranks.everywhere(kept_slots)[0]
    state.sync()
    ranks.close("weights of rank 0", ranks.flat(model), first, within=0)
    ranks.close("slots of rank 0", slots(model), first_slots, within=0)
    assert state.epoch == 0


@check()
def an_optimizer_that_has_not_begun(api: Any) -> None:
    """Its slots are part of the first commit; and so restoring undoes a first epoch."""
    problem, model, again = data(), dense(api), dense(api)
    for one in (model, again):
        one.compile(distributed(api, api.keras.optimizers.Adam(0.05)), "mse")
    state = hvd.elastic.TensorFlowKerasState(model)
    fit(model, problem.mine, ranks.PER_RANK, epochs=1)
    state.restore()
    for one in (model, again):
        fit(one, problem.mine, ranks.PER_RANK, epochs=1)
    ranks.trained_alike("undone", model, again, within=0)


@check()
def waiting_gradients_are_forgotten(api: Any) -> None:
    """A reset in the middle of an accumulation leaves no rank ahead of the others."""
    problem, model, again = data(), dense(api), dense(api)
    for one in (model, again):
        one.compile(
            distributed(api, api.keras.optimizers.SGD(0.1), backward_passes_per_step=2), "mse"
        )
    state = hvd.elastic.TensorFlowKerasState(model)
    odd = tuple(rows[: 3 * ranks.PER_RANK] for rows in problem.mine)
    fit(model, odd, ranks.PER_RANK, epochs=1)
    state.restore()
    for one in (model, again):
        fit(one, problem.mine, ranks.PER_RANK, epochs=1)
    ranks.trained_alike("forgotten", model, again, within=0)


@check(both=True)
def state_callbacks(api: Any) -> None:
    problem, model = data(), dense(api)
    model.compile(distributed(api, api.keras.optimizers.SGD(0.1)), "mse")
    state = api.hvd.elastic.KerasState(model, epoch=0, batch=0)
    commits = []
    state.commit = lambda: commits.append((state.epoch, state.batch))
    elastic = api.hvd.elastic
    fit(
        model, problem.mine, ranks.PER_RANK,
        callbacks=[
            elastic.UpdateBatchStateCallback(state),
            elastic.UpdateEpochStateCallback(state),
            elastic.CommitStateCallback(state, batches_per_commit=2),
        ],
    )  # fmt: skip
    assert (state.epoch, state.batch) == (2, 0)
    assert commits == [(0, 1), (0, 3), (1, 0), (1, 1), (1, 3), (2, 0)], commits


@check(both=True)
def run_again_after_a_failure(api: Any) -> None:
    """``elastic.run`` restores the last commit when a collective fails, and goes on."""
    from horovod.common.exceptions import HorovodInternalError

    problem, model, again = data(), dense(api), dense(api)
    for one in (model, again):
        one.compile(distributed(api, api.keras.optimizers.SGD(0.1)), "mse")
    state, tries = api.hvd.elastic.KerasState(model, epoch=0), []

    def train(state: Any) -> str:
        while state.epoch < 2:
            fit(state.model, problem.mine, ranks.PER_RANK, epochs=1)
            tries.append(state.epoch)
            if len(tries) == 2:
                raise HorovodInternalError("on purpose")
            state.epoch += 1
            state.save()
        return "done"

    # What elastic.run does between two tries, without a new rendezvous of all ranks.
    while True:
        try:
            state.sync()
            done = train(state)
            break
        except HorovodInternalError:
            state.restore()
    assert (done, tries) == ("done", [0, 1, 1])
    fit(again, problem.mine, ranks.PER_RANK, epochs=2)
    ranks.trained_alike("after a failure", model, again, within=0)
