"""Training steps that users write themselves, and what a step counts."""

import warnings
from typing import Any

import horovod.tensorflow as hvd
import ranks
import tensorflow as tf
from ranks import check, data, dense, distributed, fit, fit_alone, trained_alike


def own(api: Any, model: Any, slopes: Any = None) -> Any:
    """Return the model with a ``train_step`` that applies the gradients itself."""

    class Own(api.keras.Model):  # type: ignore[misc]
        def train_step(self, rows: Any) -> Any:
            x, y = rows
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
            if slopes is not None:
                tape = slopes(tape)
            found = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(found, self.trainable_variables, strict=True))
            return {"loss": loss}

    return Own(model.inputs, model.outputs)


@check(both=True)
def own_train_step(api: Any) -> None:
    """``apply_gradients`` in ``fit`` reduces: without that, each rank trains alone."""
    problem = data()
    for mode in ({}, {"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 2}):
        model, alone = own(api, dense(api)), dense(api)
        model.compile(distributed(api, api.keras.optimizers.SGD(0.1, momentum=0.9)), **mode)
        alone.compile(api.keras.optimizers.SGD(0.1, momentum=0.9), "mse")
        fit(model, problem.mine, ranks.PER_RANK)
        fit_alone(alone, problem)
        trained_alike(f"own step {mode}", model, alone)


@check()
def own_train_step_accumulates(api: Any) -> None:
    problem, model, alone = data(), own(api, dense(api)), dense(api)
    sgd = distributed(
        api, api.keras.optimizers.SGD(0.05, momentum=0.9),
        backward_passes_per_step=2, average_aggregated_gradients=True,
    )  # fmt: skip
    model.compile(sgd)
    alone.compile(api.keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    fit(model, problem.mine, ranks.PER_RANK)
    fit_alone(alone, problem, passes=2)
    trained_alike("own step, accumulated", model, alone)


@check()
def reduced_once(api: Any) -> None:
    """What a distributed tape has summed up, a distributed optimizer does not sum up again."""
    problem, model, alone = data(), own(api, dense(api), _summed), dense(api)
    model.compile(distributed(api, api.keras.optimizers.SGD(0.05), op=hvd.Sum))
    alone.compile(api.keras.optimizers.SGD(0.05 * hvd.size()), "mse")
    fit(model, problem.mine, ranks.PER_RANK)
    fit_alone(alone, problem)
    trained_alike("tape and optimizer", model, alone)
    model, alone = dense(api), dense(api)
    model.compile(distributed(api, api.keras.optimizers.SGD(0.05), op=hvd.Sum), "mse")
    alone.compile(api.keras.optimizers.SGD(0.05 * hvd.size()), "mse")
    fit(model, problem.mine, ranks.PER_RANK)
    fit_alone(alone, problem)
    trained_alike("fit", model, alone)


def _summed(tape: Any) -> Any:
    return hvd.DistributedGradientTape(tape, op=hvd.Sum)


@check()
def two_optimizers(api: Any) -> None:
    """A step that reduces is not compiled by XLA, whatever reduces in it; nobody is blamed."""
    problem, optimizers = data(), api.keras.optimizers

    def halves(one: Any, reduce: bool) -> Any:
        class Halves(api.keras.Model):  # type: ignore[misc]
            def compile(self, **more: Any) -> None:
                super().compile(**more)
                self.first, self.second = optimizers.SGD(0.1), optimizers.SGD(0.05)

            def train_step(self, rows: Any) -> Any:
                x, y = rows
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
                if reduce:
                    tape = hvd.DistributedGradientTape(tape)
                pairs = list(
                    zip(tape.gradient(loss, self.trainable_variables), self.trainable_variables,
                        strict=True)
                )  # fmt: skip
                self.first.apply_gradients(pairs[:2])
                self.second.apply_gradients(pairs[2:])
                return {"loss": loss}

        return Halves(one.inputs, one.outputs)

    for mode in ({}, {"jit_compile": True}):
        model, alone = halves(dense(api), True), halves(dense(api), False)
        model.compile(**mode)
        alone.compile()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            begin = api.hvd.callbacks.BroadcastGlobalVariablesCallback(0)
            fit(model, problem.mine, ranks.PER_RANK, callbacks=[begin])
        blamed = any("jit_compile=True" in str(one.message) for one in said)
        assert blamed == bool(mode), [str(one.message) for one in said]
        fit_alone(alone, problem)
        trained_alike(f"two optimizers {mode}", model, alone)


@check()
def reduces_after_it_applied(api: Any) -> None:
    """Variables of an optimizer that the first step makes before it reduces have their values."""

    def applying(one: Any, reduce: bool) -> Any:
        class Applying(api.keras.Model):  # type: ignore[misc]
            def train_step(self, rows: Any) -> Any:
                x, y = rows
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
                found = tape.gradient(loss, self.trainable_variables)
                self.optimizer.apply_gradients(zip(found, self.trainable_variables, strict=True))
                return {"loss": hvd.allreduce(loss) if reduce else loss}

        return Applying(one.inputs, one.outputs)

    for mode in ({}, {"jit_compile": True}):
        model, alone = applying(dense(api), True), applying(dense(api), False)
        model.compile(api.keras.optimizers.SGD(0.1, momentum=0.9), **mode)
        alone.compile(api.keras.optimizers.SGD(0.1, momentum=0.9), jit_compile=False)
        fit(model, data().mine, ranks.PER_RANK)
        fit(alone, data().mine, ranks.PER_RANK)
        ranks.close(f"applied first {mode}", ranks.flat(model), ranks.flat(alone))


@check()
def nobody_is_blamed(api: Any) -> None:
    """The warning is for those who asked for XLA. Keras 3 asks for it by itself."""
    for mode in ({}, {"jit_compile": True}):
        model = dense(api)
        model.compile(distributed(api, api.keras.optimizers.SGD(0.1)), "mse", **mode)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            fit(model, data().mine, ranks.PER_RANK, epochs=1)
        blamed = any("jit_compile" in str(one.message) for one in said)
        assert blamed == bool(mode), [str(one.message) for one in said]


@check()
def counting_of_steps(api: Any) -> None:
    """Adam's correction and a schedule go by updates, as with one process and larger batches."""
    problem, optimizers = data(), api.keras.optimizers

    def adam() -> Any:
        rate = optimizers.schedules.ExponentialDecay(0.05, decay_steps=2, decay_rate=0.5)
        return optimizers.Adam(rate)

    model, alone = dense(api), dense(api)
    optimizer = distributed(
        api, adam(), backward_passes_per_step=2, average_aggregated_gradients=True
    )
    model.compile(optimizer, "mse")
    alone.compile(adam(), "mse")
    fit(model, problem.mine, ranks.PER_RANK)
    fit_alone(alone, problem, passes=2)
    assert int(model.optimizer.iterations) == int(alone.optimizer.iterations) == ranks.STEPS
    trained_alike("Adam with a schedule", model, alone, within=1e-4)


@check(legacy=False)
def accumulation_of_keras(api: Any) -> None:
    """``gradient_accumulation_steps``: reduced once for each update, not for each pass."""
    problem, model, alone = data(), dense(api), dense(api)
    adam = api.keras.optimizers.Adam(0.02, gradient_accumulation_steps=2)
    model.compile(distributed(api, adam), "mse", run_eagerly=True)
    alone.compile(api.keras.optimizers.Adam(0.02), "mse")
    reduction = model.optimizer._horovod
    reduce, called = reduction.allreduce, []
    reduction.allreduce = lambda *args: called.append(1) or reduce(*args)
    fit(model, problem.mine, ranks.PER_RANK)
    fit_alone(alone, problem, passes=2)
    assert len(called) == ranks.STEPS, f"{len(called)} reductions for {ranks.STEPS} updates"
    trained_alike("eagerly", model, alone, within=1e-4)
    model = dense(api)
    adam = api.keras.optimizers.Adam(0.02, gradient_accumulation_steps=2)
    model.compile(distributed(api, adam), "mse")
    fit(model, problem.mine, ranks.PER_RANK)
    trained_alike("in a graph", model, alone, within=1e-4)
    try:
        distributed(api, adam, backward_passes_per_step=2)
    except ValueError as error:
        assert "use one of them" in str(error), error
    else:
        raise AssertionError("both ways of accumulating at once")


@check()
def excluded_from_weight_decay(api: Any) -> None:
    problem, model, alone = data(), dense(api), dense(api)
    for one, wrap in ((model, True), (alone, False)):
        sgd = api.keras.optimizers.SGD(0.1, weight_decay=0.2)
        sgd.exclude_from_weight_decay(var_names=["bias"])
        one.compile(distributed(api, sgd) if wrap else sgd, "mse")
    plain = dense(api)
    plain.compile(api.keras.optimizers.SGD(0.1, weight_decay=0.2), "mse")
    fit(model, problem.mine, ranks.PER_RANK)
    fit_alone(alone, problem)
    fit_alone(plain, problem)
    trained_alike("decay", model, alone)
    assert abs(ranks.flat(alone) - ranks.flat(plain)).max() > 1e-3, "a test that cannot fail"


@check()
def moving_average_of_weights(api: Any) -> None:
    for every in (None, 2):
        problem, model, alone = data(), dense(api, seed=30 + hvd.rank()), dense(api, seed=30)
        more = {"use_ema": True, "ema_momentum": 0.6, "ema_overwrite_frequency": every}
        model.compile(distributed(api, api.keras.optimizers.SGD(0.1, **more)), "mse")
        alone.compile(api.keras.optimizers.SGD(0.1, **more), "mse")
        begin = api.hvd.callbacks.BroadcastGlobalVariablesCallback(0)
        fit(model, problem.mine, ranks.PER_RANK, callbacks=[begin])
        fit_alone(alone, problem)
        trained_alike(f"moving average, every {every}", model, alone)


@check()
def begins_as_rank_0(api: Any) -> None:
    """The first step is made with the weights of rank 0, even if Keras takes four at once."""
    problem, model, alone = data(), dense(api, seed=40 + hvd.rank()), dense(api, seed=40)
    model.compile(distributed(api, api.keras.optimizers.Adam(0.02)), "mse", steps_per_execution=4)
    alone.compile(api.keras.optimizers.Adam(0.02), "mse")
    begin = api.hvd.callbacks.BroadcastGlobalVariablesCallback(0)
    fit(model, problem.mine, ranks.PER_RANK, callbacks=[begin])
    fit_alone(alone, problem)
    trained_alike("from the first step", model, alone, within=1e-4)


@check()
def dropout_masks_differ(api: Any) -> None:
    """Ranks that were seeded apart stay apart: seeds are not broadcast with the weights."""
    layers = api.keras.layers
    api.keras.utils.set_random_seed(60 + hvd.rank())
    model = api.keras.Sequential(
        [layers.Input((ranks.FEATURES,)), layers.Dropout(0.5, name="drop"), layers.Dense(1)]
    )
    model.compile(distributed(api, api.keras.optimizers.SGD(0.1)), "mse")
    begin = api.hvd.callbacks.BroadcastGlobalVariablesCallback(0)
    fit(model, data().mine, ranks.PER_RANK, callbacks=[begin])
    ranks.same_on_all("weights", ranks.flat(model))
    mask = model.get_layer("drop")(tf.ones((8, ranks.FEATURES)), training=True)
    rows = ranks.everywhere(mask)
    halves = rows[:1], rows[-1:]
    assert abs(halves[0] - halves[1]).max() > 0, "all ranks drop the same"


@check()
def what_is_no_optimizer(api: Any) -> None:
    adam = api.keras.optimizers.Adam
    for wrong, words in (("adam", "the name 'adam'"), (adam, "the class Adam")):
        try:
            api.hvd.DistributedOptimizer(wrong)
        except TypeError as error:
            assert words in str(error), error
        else:
            raise AssertionError(f"{wrong} was taken for an optimizer")
    assert api.hvd.allgather_object(hvd.rank()) == list(range(hvd.size()))
