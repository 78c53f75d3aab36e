"""Mixed precision: the loss is scaled, and an overflow on one rank is an overflow on all."""

from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import ranks
import tensorflow as tf
from ranks import check, data, dense, distributed, fit, fit_alone, scaling


def policy(api: Any, name: str) -> None:
    api.keras.mixed_precision.set_global_policy(name)


@check()
def loss_scaling(api: Any) -> None:
    """Keras wraps a distributed optimizer; or the user distributes a wrapped one."""
    problem, optimizers = data(), api.keras.optimizers
    policy(api, "mixed_float16")
    try:
        for wrapped in (False, True):
            model, alone = dense(api, dtype="float32"), dense(api, dtype="float32")
            sgd = optimizers.SGD(0.1)
            one = scaling(api)(sgd) if wrapped else sgd
            model.compile(distributed(api, one), "mse")
            alone.compile(optimizers.SGD(0.1), "mse")
            assert type(model.optimizer).__name__.startswith("LossScaleOptimizer")
            fit(model, problem.mine, ranks.PER_RANK)
            fit_alone(alone, problem)
            # Half precision: sums in another order differ in the fourth digit.
            ranks.trained_alike(f"wrapped {wrapped}", model, alone, within=5e-3)
    finally:
        policy(api, "float32")


@check()
def an_overflow_on_one_rank(api: Any) -> None:
    """All ranks skip the step and halve the scale; without that, one would wait for ever."""
    problem, optimizers = data(), api.keras.optimizers
    for passes, batch in ((1, 1), (2, 1), (2, 0)):
        model = dense(api)
        sgd = distributed(api, optimizers.SGD(0.1), backward_passes_per_step=passes)
        scaled = scaling(api)(sgd, initial_scale=1024.0)
        model.compile(scaled, "mse")
        x, y = problem.mine
        x = np.array(x)
        if hvd.rank() == hvd.size() - 1:
            x[ranks.PER_RANK * batch] = np.inf
        fit(model, (x, y), ranks.PER_RANK, epochs=1)
        scale = scaled.loss_scale if ranks.LEGACY else scaled.dynamic_scale
        ranks.close("scale", float(tf.convert_to_tensor(scale)), 512.0, within=0)
        # Keras 2 counts the step that it skips. Keras 3 leaves the infinite pass out of the sum.
        steps = ranks.STEPS // passes if ranks.LEGACY else (ranks.STEPS - 1) // passes
        ranks.close("steps", int(model.optimizer.iterations), steps, within=0)
        ranks.same_on_all("weights", ranks.flat(model))
        assert np.isfinite(ranks.flat(model)).all()


@check()
def overflow_equals_leaving_the_batch_out(api: Any) -> None:
    problem, optimizers = data(), api.keras.optimizers
    model, alone = dense(api), dense(api)
    model.compile(scaling(api)(distributed(api, optimizers.SGD(0.1))), "mse")
    alone.compile(optimizers.SGD(0.1), "mse")
    x, y = (np.array(one) for one in problem.mine)
    if hvd.rank() == 0:
        x[0] = np.inf
    fit(model, (x, y), ranks.PER_RANK, epochs=1)
    batch = ranks.PER_RANK * hvd.size()
    fit(alone, (problem.x[batch:], problem.y[batch:]), batch, epochs=1)
    ranks.trained_alike("without the first batch", model, alone)


@check(legacy=False)
def several_optimizers_in_half_precision(api: Any) -> None:
    """``MultiOptimizer``, distributed as a whole or part by part; an overflow is one on all."""
    optimizers = api.keras.optimizers
    problem = data()

    def multi(wrap: Any) -> Any:
        rest, biases = optimizers.SGD(0.1), optimizers.SGD(0.05, momentum=0.5)
        return optimizers.MultiOptimizer(
            optimizers.OptimizerMap(wrap(rest), {".*/bias": wrap(biases)})
        )

    def plain(one: Any) -> Any:
        return one

    alone = dense(api, dtype="float32")
    alone.compile(multi(plain), "mse")
    x, y = (np.array(one) for one in problem.mine)
    if hvd.rank() == 0:
        x[0] = np.inf
    policy(api, "mixed_float16")
    try:
        whole, parts = dense(api, dtype="float32"), dense(api, dtype="float32")
        whole.compile(distributed(api, multi(plain)), "mse")
        parts.compile(multi(lambda one: distributed(api, one)), "mse")
        for one in (whole, parts):
            assert isinstance(one.optimizer, scaling(api))
            fit(one, (x, y), ranks.PER_RANK, epochs=1)
    finally:
        policy(api, "float32")
    batch = ranks.PER_RANK * hvd.size()
    fit(alone, (problem.x[batch:], problem.y[batch:]), batch, epochs=1)
    ranks.trained_alike("as a whole", whole, alone, within=5e-3)
    ranks.trained_alike("part by part", parts, alone, within=5e-3)


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
