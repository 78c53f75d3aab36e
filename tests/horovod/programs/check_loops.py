"""Own training loops: ``DistributedGradientTape`` and ``apply_gradients``."""

from typing import Any

import horovod.tensorflow as hvd
import ranks
import tensorflow as tf
from ranks import check, data, dense, distributed, embedding, fit_alone


def batches(rows: tuple[Any, Any]) -> Any:
    return tf.data.Dataset.from_tensor_slices(rows).batch(ranks.PER_RANK)


def loss_of(model: Any, x: Any, y: Any) -> Any:
    return tf.reduce_mean(tf.square(model(x, training=True) - y))


@check()
def gradient_tape(api: Any) -> None:
    for compiled in (False, True):
        for make, words in ((dense, False), (embedding, True)):
            problem, model, alone = data(words=words), make(api), make(api)
            sgd = api.keras.optimizers.SGD(0.1)

            def step(x: Any, y: Any, model: Any = model, sgd: Any = sgd) -> None:
                with tf.GradientTape() as tape:
                    loss = loss_of(model, x, y)
                tape = hvd.DistributedGradientTape(tape)
                gradients = tape.gradient(loss, model.trainable_variables)
                sgd.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

            run = tf.function(step) if compiled else step
            for x, y in batches(problem.mine):
                run(x, y)
            alone.compile(api.keras.optimizers.SGD(0.1), "mse")
            fit_alone(alone, problem, epochs=1)
            ranks.trained_alike(f"tape, words {words}, function {compiled}", model, alone)


@check()
def tape_with_a_local_layer(api: Any) -> None:
    problem, model = data(), dense(api)
    x, y = next(iter(batches(problem.mine)))
    with tf.GradientTape(persistent=True) as tape:
        loss = loss_of(model, x, y)
    plain = tape.gradient(loss, model.trainable_variables)
    with tf.GradientTape() as tape:
        loss = loss_of(model, x, y)
    tape = hvd.PartialDistributedGradientTape(tape, local_layers=model.layers[-1])
    gradients = tape.gradient(loss, model.trainable_variables)
    ranks.close("local", gradients[-1], plain[-1] / hvd.size())
    ranks.close("shared", gradients[0], ranks.everywhere(plain[0]).mean(axis=0))


@check()
def optimizer_in_an_own_loop(api: Any) -> None:
    """``apply_gradients`` reduces, inside a function and outside, and with accumulation."""
    for compiled, passes in ((False, 1), (True, 1), (True, 2)):
        problem, model, alone = data(), dense(api), dense(api)
        sgd = distributed(
            api, api.keras.optimizers.SGD(0.1, momentum=0.9),
            backward_passes_per_step=passes, average_aggregated_gradients=True,
        )  # fmt: skip

        def step(x: Any, y: Any, model: Any = model, sgd: Any = sgd) -> None:
            with tf.GradientTape() as tape:
                loss = loss_of(model, x, y)
            gradients = tape.gradient(loss, model.trainable_variables)
            sgd.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

        run = tf.function(step) if compiled else step
        for x, y in batches(problem.mine):
            run(x, y)
        alone.compile(api.keras.optimizers.SGD(0.1, momentum=0.9), "mse")
        fit_alone(alone, problem, epochs=1, passes=passes)
        ranks.trained_alike(f"function {compiled}, passes {passes}", model, alone)


@check()
def compiled_by_xla(api: Any) -> None:
    """The forward and backward pass may be; a reduction inside is refused in words."""
    problem, model, alone = data(), dense(api), dense(api)
    sgd = distributed(api, api.keras.optimizers.SGD(0.1))

    @tf.function(jit_compile=True)
    def slopes(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(model, x, y)
        return tape.gradient(loss, model.trainable_variables)

    for x, y in batches(problem.mine):
        sgd.apply_gradients(zip(slopes(x, y), model.trainable_variables, strict=True))
    alone.compile(api.keras.optimizers.SGD(0.1), "mse")
    fit_alone(alone, problem, epochs=1)
    ranks.trained_alike("gradients by XLA", model, alone)

    @tf.function(jit_compile=True)
    def step(x: Any, y: Any) -> None:
        sgd.apply_gradients(zip(slopes(x, y), model.trainable_variables, strict=True))

    try:
        step(x, y)
    except RuntimeError as error:
        assert "cannot be compiled by XLA" in str(error), error
    else:
        raise AssertionError("a reduction was compiled by XLA")


@check()
def variables_are_broadcast(api: Any) -> None:
    model = dense(api, seed=10 + hvd.rank())
    first = ranks.everywhere(ranks.flat(model))
    assert abs(first[0] - first[-1]).max() > 0.1, "the ranks began alike"
    hvd.broadcast_variables(model.variables, root_rank=0)
    ranks.close("weights", ranks.flat(model), first[0], within=0)


@check()
def batch_statistics_of_all_ranks(api: Any) -> None:
    """``SyncBatchNormalization`` normalises by the whole batch, and its gradients follow."""
    _normalised(api, [ranks.PER_RANK] * hvd.size())


@check()
def batch_statistics_by_rows(api: Any) -> None:
    """The last batch of an epoch may be smaller on one rank: its rows count, not its mean."""
    _normalised(api, [ranks.PER_RANK + 3 * rank for rank in range(hvd.size())])


def _normalised(api: Any, rows: list[int]) -> None:
    first = sum(rows[: hvd.rank()])
    part = slice(first, first + rows[hvd.rank()])
    inputs = data(steps=2).x[: sum(rows)]
    mine, whole = tf.constant(inputs[part]), tf.constant(inputs)
    ours, alone = hvd.SyncBatchNormalization(), api.keras.layers.BatchNormalization()
    with tf.GradientTape() as tape, tf.GradientTape() as tape_alone:
        tape.watch(mine)
        tape_alone.watch(whole)
        found, wanted = ours(mine, training=True), alone(whole, training=True)
        cubes, cubes_alone = tf.reduce_sum(found**3), tf.reduce_sum(wanted**3)
    ranks.close("outputs", found, wanted[part], within=1e-4)
    ranks.close("moving mean", ours.moving_mean, alone.moving_mean)
    ranks.close("moving variance", ours.moving_variance, alone.moving_variance)
    slope, slope_alone = tape.gradient(cubes, mine), tape_alone.gradient(cubes_alone, whole)
    ranks.close("gradients", slope, slope_alone[part], within=1e-3)
