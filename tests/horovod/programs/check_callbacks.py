"""Callbacks, by the numbers they produce."""

from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import ranks
import tensorflow as tf
from ranks import check, data, dense, distributed, fit


@check(both=True)
def broadcast_at_the_beginning(api: Any) -> None:
    """Ranks that begin apart go on as rank 0 does, with their slots and learning rate."""
    model = dense(api, seed=20 + hvd.rank())
    # tf-keras does not count the learning rate among an optimizer's variables.
    rate = 0.01 if hvd.rank() == 0 or ranks.LEGACY else 0.5
    model.compile(distributed(api, api.keras.optimizers.Adam(rate)), "mse")
    begin = api.hvd.callbacks.BroadcastGlobalVariablesCallback(0)
    fit(model, data().mine, ranks.PER_RANK, callbacks=[begin])
    ranks.same_on_all("weights", ranks.flat(model))
    variables = model.optimizer.variables
    variables = variables() if callable(variables) else variables
    ranks.same_on_all(
        "optimizer", ranks.flat([np.asarray(tf.convert_to_tensor(v)) for v in variables])
    )
    ranks.close("learning rate", float(tf.convert_to_tensor(model.optimizer.learning_rate)), 0.01)


@check()
def a_local_variable_is_not_broadcast(api: Any) -> None:
    model = dense(api, seed=20 + hvd.rank())
    model.compile(distributed(api, api.keras.optimizers.SGD(0.0)), "mse")
    begin = api.hvd.callbacks.BroadcastGlobalVariablesCallback(
        0, local_variables=[model.trainable_variables[0]]
    )
    fit(model, data().mine, ranks.PER_RANK, epochs=1, callbacks=[begin])
    rows = ranks.everywhere(model.get_weights()[0])
    assert abs(rows[0] - rows[-1]).max() > 0.1, "it was broadcast"
    ranks.same_on_all("the others", ranks.flat(model.get_weights()[1:]))


@check(both=True)
def metrics_are_averaged(api: Any) -> None:
    problem, model = data(), dense(api)
    model.compile(distributed(api, api.keras.optimizers.SGD(0.0)), "mse", metrics=["mae"])
    seen = fit(
        model, problem.mine, ranks.PER_RANK, epochs=1, validation_data=problem.mine,
        callbacks=[api.hvd.callbacks.MetricAverageCallback()],
    )  # fmt: skip
    predicted = model.predict(problem.x, verbose=0)
    for name, wanted in (
        ("loss", np.mean((predicted - problem.y) ** 2)),
        ("mae", np.mean(abs(predicted - problem.y))),
    ):
        ranks.close(name, seen[name][0], wanted)
        ranks.close(f"val_{name}", seen[f"val_{name}"][0], wanted)


@check(both=True)
def evaluation_is_averaged(api: Any) -> None:
    """``evaluate`` returns the means over the ranks; what it returns later is not changed."""
    problem, model = data(), dense(api)
    model.compile(distributed(api, api.keras.optimizers.SGD(0.0)), "mse", metrics=["mae"])
    average = api.hvd.callbacks.MetricAverageCallback()
    predicted = model.predict(problem.x, verbose=0)
    wanted = [np.mean((predicted - problem.y) ** 2), np.mean(abs(predicted - problem.y))]
    found = model.evaluate(*problem.mine, verbose=0, callbacks=[average])
    ranks.close("a list", found, wanted)
    found = model.evaluate(*problem.mine, verbose=0, callbacks=[average], return_dict=True)
    ranks.close("a dict", [found["loss"], found["mae"]], wanted)
    alone = ranks.everywhere(model.evaluate(*problem.mine, verbose=0))
    assert abs(alone[0] - alone[-1]).max() > 1e-6, "it goes on averaging"


@check(both=True)
def learning_rate_schedule(api: Any) -> None:
    model = dense(api)
    model.compile(distributed(api, api.keras.optimizers.SGD(0.4)), "mse")
    schedule = api.hvd.callbacks.LearningRateScheduleCallback
    seen = fit(
        model, data().mine, ranks.PER_RANK, epochs=4,
        callbacks=[
            schedule(0.4, multiplier=0.5, start_epoch=0, end_epoch=2),
            schedule(0.4, multiplier=lambda epoch: 0.1 * epoch, start_epoch=2),
        ],
    )  # fmt: skip
    ranks.close("rates", seen["lr"], [0.4, 0.2, 0.08, 0.12])


@check(both=True)
def learning_rate_warmup(api: Any) -> None:
    model = dense(api)
    model.compile(distributed(api, api.keras.optimizers.SGD(0.4)), "mse")
    warmup = api.hvd.callbacks.LearningRateWarmupCallback(0.4, warmup_epochs=2)
    seen = fit(model, data().mine, ranks.PER_RANK, epochs=3, callbacks=[warmup])
    size = hvd.size()
    half = 0.4 / size * (1 * (size - 1) / 2 + 1)
    ranks.close("rates", seen["lr"], [half, 0.4, 0.4])


@check()
def momentum_is_corrected(api: Any) -> None:
    """A new rate scales what the momentum carries over; worked out here with numpy."""
    problem = data()
    model = dense(api)
    model.compile(distributed(api, api.keras.optimizers.SGD(0.1, momentum=0.9)), "mse")
    schedule = api.hvd.callbacks.LearningRateScheduleCallback(0.1, lambda epoch: [1, 3, 0.5][epoch])
    fit(model, problem.mine, ranks.PER_RANK, epochs=3, callbacks=[schedule])
    alone, velocity, before = dense(api), None, 0.1
    batch = ranks.PER_RANK * hvd.size()
    for rate in (0.1, 0.3, 0.05):
        for at in range(0, len(problem.x), batch):
            with tf.GradientTape() as tape:
                apart = alone(problem.x[at : at + batch]) - problem.y[at : at + batch]
                loss = tf.reduce_mean(tf.square(apart))
            slopes = [s.numpy() for s in tape.gradient(loss, alone.trainable_variables)]
            velocity = velocity or [np.zeros_like(s) for s in slopes]
            carry = 0.9 * rate / before
            velocity = [carry * v - rate * s for v, s in zip(velocity, slopes, strict=True)]
            before = rate
            weights = alone.get_weights()
            alone.set_weights([w + v for w, v in zip(weights, velocity, strict=True)])
    ranks.trained_alike("momentum", model, alone, within=1e-4)


@check(legacy=False)
def callbacks_of_one_keras_serve_another(api: Any) -> None:
    """A ``horovod.keras`` callback drives a model whichever Keras the model is of."""
    import horovod.keras.callbacks as callbacks

    try:
        import tf_keras
    except ImportError:
        return  # an image with Keras 3 only
    tf_keras.utils.set_random_seed(30 + hvd.rank())
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, input_shape=(ranks.FEATURES,))])
    model.compile(api.hvd.DistributedOptimizer(tf_keras.optimizers.SGD(0.1)), "mse")
    seen = fit(
        model, data().mine, ranks.PER_RANK,
        callbacks=[
            callbacks.BroadcastGlobalVariablesCallback(0),
            callbacks.MetricAverageCallback(),
            callbacks.LearningRateScheduleCallback(0.1, multiplier=0.5),
        ],
    )  # fmt: skip
    ranks.same_on_all("weights", ranks.flat(model))
    ranks.same_on_all("loss", seen["loss"])
    ranks.close("rates", seen["lr"], [0.1, 0.05])
