"""Mixed precision: the loss is scaled, and an overflow on one rank is an overflow on all."""

from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import ranks
import tensorflow as tf
from ranks import check, data, dense, distributed, fit, fit_alone


def policy(api: Any, name: str) -> None:
    api.keras.mixed_precision.set_global_policy(name)


@check()
def loss_scaling(api: Any) -> None:
    """Keras wraps a distributed optimizer; or the user distributes a wrapped one."""
    problem, optimizers = data(), api.keras.optimizers
    policy(api, "mixed_float16")
    try:
        for wrapped in (False,) if ranks.LEGACY else (False, True):
            model, alone = dense(api, dtype="float32"), dense(api, dtype="float32")
            sgd = optimizers.SGD(0.1)
            one = optimizers.LossScaleOptimizer(sgd) if wrapped else sgd
            model.compile(distributed(api, one), "mse")
            alone.compile(optimizers.SGD(0.1), "mse")
            assert type(model.optimizer).__name__.startswith("LossScaleOptimizer")
            fit(model, problem.mine, ranks.PER_RANK)
            fit_alone(alone, problem)
            # Half precision: sums in another order differ in the fourth digit.
            ranks.trained_alike(f"wrapped {wrapped}", model, alone, within=5e-3)
    finally:
        policy(api, "float32")


@check(legacy=False)
def an_overflow_on_one_rank(api: Any) -> None:
    """All ranks skip the step and halve the scale; without that, one would wait for ever."""
    problem, optimizers = data(), api.keras.optimizers
    for passes in (1, 2):
        model = dense(api)
        sgd = distributed(api, optimizers.SGD(0.1), backward_passes_per_step=passes)
        scaled = optimizers.LossScaleOptimizer(sgd, initial_scale=1024.0)
        model.compile(scaled, "mse")
        x, y = problem.mine
        x = np.array(x)
        if hvd.rank() == hvd.size() - 1:
            x[ranks.PER_RANK] = np.inf  # its second batch
        fit(model, (x, y), ranks.PER_RANK, epochs=1)
        ranks.close("scale", float(tf.convert_to_tensor(scaled.dynamic_scale)), 512.0, within=0)
        ranks.close("passes", int(sgd.iterations), ranks.STEPS - 1, within=0)
        ranks.same_on_all("weights", ranks.flat(model))
        assert np.isfinite(ranks.flat(model)).all()


@check(legacy=False)
def overflow_equals_leaving_the_batch_out(api: Any) -> None:
    problem, optimizers = data(), api.keras.optimizers
    model, alone = dense(api), dense(api)
    model.compile(optimizers.LossScaleOptimizer(distributed(api, optimizers.SGD(0.1))), "mse")
    alone.compile(optimizers.SGD(0.1), "mse")
    x, y = (np.array(one) for one in problem.mine)
    if hvd.rank() == 0:
        x[0] = np.inf
    fit(model, (x, y), ranks.PER_RANK, epochs=1)
    batch = ranks.PER_RANK * hvd.size()
    fit(alone, (problem.x[batch:], problem.y[batch:]), batch, epochs=1)
    ranks.trained_alike("without the first batch", model, alone)


@check()
def bfloat16(api: Any) -> None:
    problem = data()
    policy(api, "mixed_bfloat16")
    try:
        model, alone = dense(api, dtype="float32"), dense(api, dtype="float32")
        model.compile(distributed(api, api.keras.optimizers.SGD(0.1)), "mse")
        alone.compile(api.keras.optimizers.SGD(0.1), "mse")
        fit(model, problem.mine, ranks.PER_RANK)
        fit_alone(alone, problem)
        ranks.trained_alike("bfloat16", model, alone, within=5e-2)
    finally:
        policy(api, "float32")
