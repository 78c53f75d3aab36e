"""``DistributedOptimizer`` in ``model.fit``."""

from typing import Any

import horovod.tensorflow as hvd
import ranks
import tensorflow as tf
from ranks import check, data, dense, distributed, embedding, fit, fit_alone, trained_alike


@check(both=True)
def fit_in_every_mode(api: Any) -> None:
    problem = data()
    for mode in ({}, {"jit_compile": False}, {"jit_compile": True}, {"run_eagerly": True}):
        model, alone = dense(api), dense(api)
        model.compile(distributed(api, api.keras.optimizers.SGD(0.1, momentum=0.9)), "mse", **mode)
        alone.compile(api.keras.optimizers.SGD(0.1, momentum=0.9), "mse")
        before = ranks.flat(model)
        fit(model, problem.mine, ranks.PER_RANK)
        fit_alone(alone, problem)
        trained_alike(str(mode), model, alone)
        assert abs(ranks.flat(model) - before).max() > 0.01, "nothing was learnt"


@check()
def without_an_input(api: Any) -> None:
    """Weights that are made in the first step have their values, whoever asked for XLA."""

    def evaluated(model: Any, rows: Any, batch: int) -> None:
        model.evaluate(*rows, batch_size=batch, verbose=0)
        fit(model, rows, batch)

    def batch_by_batch(model: Any, rows: Any, batch: int) -> None:
        for first in range(0, len(rows[0]), batch):
            model.train_on_batch(*(part[first : first + batch] for part in rows))

    xla, problem, optimizers = {"jit_compile": True}, data(), api.keras.optimizers
    for train, mode in (
        (fit, {}), (fit, xla), (fit, {**xla, "steps_per_execution": 2}),
        (evaluated, {}), (evaluated, xla), (batch_by_batch, {}), (batch_by_batch, xla),
    ):  # fmt: skip
        model, alone = ranks.unbuilt(api), ranks.unbuilt(api)
        model.compile(distributed(api, optimizers.SGD(0.1, momentum=0.9)), "mse", **mode)
        alone.compile(optimizers.SGD(0.1, momentum=0.9), "mse", jit_compile=False)
        train(model, problem.mine, ranks.PER_RANK)
        train(alone, problem.whole, ranks.PER_RANK * hvd.size())
        trained_alike(f"{train.__name__} {mode}", model, alone)


@check()
def a_plain_optimizer_is_told_apart(api: Any) -> None:
    """The comparison itself: without Horovod the ranks must be seen to differ."""
    problem, model = data(), dense(api)
    model.compile(api.keras.optimizers.SGD(0.1), "mse")
    fit(model, problem.mine, ranks.PER_RANK)
    rows = ranks.everywhere(ranks.flat(model))
    assert abs(rows[0] - rows[-1]).max() > 1e-4, "a test that cannot fail"


@check()
def adaptive_optimizers(api: Any) -> None:
    problem = data()
    for name, within in (("Adam", 1e-4), ("RMSprop", 1e-4)):
        make = getattr(api.keras.optimizers, name)
        model, alone = dense(api), dense(api)
        model.compile(distributed(api, make(0.01)), "mse")
        alone.compile(make(0.01), "mse")
        fit(model, problem.mine, ranks.PER_RANK)
        fit_alone(alone, problem)
        trained_alike(name, model, alone, within)


@check(both=True)
def accumulation(api: Any) -> None:
    """Two backward passes make one step; the sum, or the mean, of both is applied."""
    problem = data()
    for average, times in ((True, 1), (False, 2)):
        model, alone = dense(api), dense(api)
        optimizer = distributed(
            api, api.keras.optimizers.SGD(0.05, momentum=0.9),
            backward_passes_per_step=2, average_aggregated_gradients=average,
        )  # fmt: skip
        model.compile(optimizer, "mse")
        alone.compile(
            api.keras.optimizers.SGD(0.05, momentum=0.9),
            lambda true, found, n=times: n * tf.reduce_mean(tf.square(true - found), axis=-1),
        )
        fit(model, problem.mine, ranks.PER_RANK)
        fit_alone(alone, problem, passes=2)
        trained_alike(f"average {average}", model, alone)
        assert int(model.optimizer.iterations) == ranks.STEPS, "an update is a step, a pass is not"


@check()
def fp16_compression(api: Any) -> None:
    problem, model, alone = data(), dense(api), dense(api)
    sgd = distributed(api, api.keras.optimizers.SGD(0.1), compression=hvd.Compression.fp16)
    model.compile(sgd, "mse")
    alone.compile(api.keras.optimizers.SGD(0.1), "mse")
    fit(model, problem.mine, ranks.PER_RANK)
    fit_alone(alone, problem)
    trained_alike("fp16", model, alone, within=2e-3)
    assert abs(ranks.flat(model) - ranks.flat(alone)).max() > 0, "nothing was rounded to 16 bits"


@check(both=True)
def sparse_gradients(api: Any) -> None:
    problem = data(words=True)
    for options in ({}, {"sparse_as_dense": True}, {"groups": 2}):
        model, alone = embedding(api), embedding(api)
        model.compile(distributed(api, api.keras.optimizers.SGD(0.1), **options), "mse")
        alone.compile(api.keras.optimizers.SGD(0.1), "mse")
        fit(model, problem.mine, ranks.PER_RANK)
        fit_alone(alone, problem)
        trained_alike(f"sparse {options}", model, alone)


@check()
def sparse_accumulation(api: Any) -> None:
    problem, model, alone = data(words=True), embedding(api), embedding(api)
    sgd = distributed(
        api, api.keras.optimizers.SGD(0.1), sparse_as_dense=True,
        backward_passes_per_step=2, average_aggregated_gradients=True,
    )  # fmt: skip
    model.compile(sgd, "mse")
    alone.compile(api.keras.optimizers.SGD(0.1), "mse")
    fit(model, problem.mine, ranks.PER_RANK)
    fit_alone(alone, problem, passes=2)
    trained_alike("sparse, accumulated", model, alone)


@check()
def groups_of_variables(api: Any) -> None:
    """Variables of one name ("kernel") in groups of their own."""
    problem, model, alone = data(), dense(api), dense(api)
    variables = model.trainable_variables
    groups = [variables[:2], variables[2:5]]
    model.compile(distributed(api, api.keras.optimizers.SGD(0.1), groups=groups), "mse")
    alone.compile(api.keras.optimizers.SGD(0.1), "mse")
    fit(model, problem.mine, ranks.PER_RANK)
    fit_alone(alone, problem)
    trained_alike("groups", model, alone)


@check()
def local_layers(api: Any) -> None:
    """A local layer keeps its own gradients; the others are reduced."""
    import horovod.keras

    problem, model = data(), dense(api)
    sgd = horovod.keras.PartialDistributedOptimizer(
        api.keras.optimizers.SGD(0.1), local_layers=[model.layers[-1]]
    )
    model.compile(sgd, "mse")
    fit(model, problem.mine, ranks.PER_RANK, epochs=1)
    shared, local = model.get_weights()[:-2], model.get_weights()[-2:]
    rows = ranks.everywhere(ranks.flat(local))
    assert abs(rows[0] - rows[-1]).max() > 1e-5, "the local layer was reduced"
    ranks.same_on_all("shared layers", ranks.flat(shared))


@check(legacy=False)
def a_used_optimizer_goes_on(api: Any) -> None:
    """Wrapping an optimizer that has been used keeps what it has learnt."""
    problem, model, alone = data(), dense(api), dense(api)
    for one in (model, alone):
        one.compile(api.keras.optimizers.Adam(0.01), "mse")
        fit_alone(one, problem, epochs=1)
    model.compile(distributed(api, model.optimizer), "mse")
    alone.compile(alone.optimizer, "mse")
    fit(model, problem.mine, ranks.PER_RANK, epochs=1)
    fit_alone(alone, problem, epochs=1)
    trained_alike("goes on", model, alone, within=1e-4)


@check()
def clipping_comes_after_the_reduction(api: Any) -> None:
    problem, model, alone = data(unlike=True), dense(api), dense(api)
    model.compile(distributed(api, api.keras.optimizers.SGD(0.1, global_clipnorm=0.5)), "mse")
    alone.compile(api.keras.optimizers.SGD(0.1, global_clipnorm=0.5), "mse")
    fit(model, problem.mine, ranks.PER_RANK)
    fit_alone(alone, problem)
    trained_alike("clipped", model, alone)


@check()
def process_sets(api: Any) -> None:
    """Ranks that only reduce among themselves: here each is alone, and ends apart."""
    problem, model, alone = data(), dense(api), dense(api)
    sets = [hvd.add_process_set([rank]) for rank in range(hvd.size())]
    mine = sets[hvd.rank()]
    model.compile(distributed(api, api.keras.optimizers.SGD(0.1), process_set=mine), "mse")
    alone.compile(api.keras.optimizers.SGD(0.1), "mse")
    for one in (model, alone):
        fit(one, problem.mine, ranks.PER_RANK, epochs=1)
    ranks.close("alone", ranks.flat(model), ranks.flat(alone))
    rows = ranks.everywhere(ranks.flat(model))
    assert abs(rows[0] - rows[-1]).max() > 1e-4, "all ranks were reduced"
    for one in sets:
        hvd.remove_process_set(one)
