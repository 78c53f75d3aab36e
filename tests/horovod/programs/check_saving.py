"""Models saved by one rank load with and without Horovod, and go on where they were."""

import tempfile
from pathlib import Path
from typing import Any

import horovod.tensorflow as hvd
import ranks
from ranks import check, data, dense, distributed, fit, scaling


@check(both=True)
def saved_models_go_on(api: Any) -> None:
    # Keras 3 itself cannot read a loss named "mse" back from an .h5 file.
    problem, mse = data(), api.keras.losses.MeanSquaredError
    for suffix in ("keras", "h5"):
        model, through = dense(api), dense(api)
        for one in (model, through):
            one.compile(distributed(api, api.keras.optimizers.Adam(0.02)), mse())
        fit(model, problem.mine, ranks.PER_RANK, epochs=1)
        fit(through, problem.mine, ranks.PER_RANK, epochs=2)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, f"model.{suffix}"))
            model.save(path)
            plain = api.keras.models.load_model(path)
            loaded = api.hvd.load_model(path)
        assert type(plain.optimizer).__name__ == "Adam"
        assert not hasattr(plain.optimizer, "register_local_var"), "it needs Horovod to load"
        ranks.close(f"{suffix}: weights", ranks.flat(loaded), ranks.flat(model), within=0)
        fit(loaded, problem.mine, ranks.PER_RANK, epochs=1)
        ranks.same_on_all(suffix, ranks.flat(loaded))
        ranks.close(f"{suffix}: gone on", ranks.flat(loaded), ranks.flat(through), within=1e-6)


@check()
def a_users_own_optimizer(api: Any) -> None:
    @api.keras.utils.register_keras_serializable("tests")
    class Halving(api.keras.optimizers.SGD):
        def update_step(self, gradient: Any, variable: Any, *rate: Any) -> None:
            super().update_step(gradient / 2, variable, *rate)

    problem, model, alone = data(), dense(api), dense(api)
    model.compile(distributed(api, Halving(0.2)), "mse")
    alone.compile(api.keras.optimizers.SGD(0.1), "mse")
    fit(model, problem.mine, ranks.PER_RANK, epochs=1)
    ranks.fit_alone(alone, problem, epochs=1)
    ranks.trained_alike("halving", model, alone)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "model.keras"))
        model.save(path)
        assert type(api.keras.models.load_model(path).optimizer) is Halving
        loaded = api.hvd.load_model(path, custom_optimizers=[Halving])
    fit(loaded, problem.mine, ranks.PER_RANK, epochs=1)
    ranks.fit_alone(alone, problem, epochs=1)
    ranks.trained_alike("halving, loaded", loaded, alone)


@check()
def a_checkpoint_of_keras(api: Any) -> None:
    """``ModelCheckpoint`` writes what Keras loads as the plain optimizer."""
    model = dense(api)
    model.compile(distributed(api, api.keras.optimizers.Adam(0.02)), "mse")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "best.keras"))
        keep = api.keras.callbacks.ModelCheckpoint(path, monitor="loss", save_best_only=True)
        fit(model, data().mine, ranks.PER_RANK, callbacks=[keep])
        loaded = api.keras.models.load_model(path)
    assert type(loaded.optimizer) is api.keras.optimizers.Adam, type(loaded.optimizer)


@check()
def loaded_twice(api: Any) -> None:
    """Saved, loaded, saved and loaded again in half precision: scaled once, reduced once."""
    problem, alone = data(), dense(api, dtype="float32")
    policy = api.keras.mixed_precision.set_global_policy
    policy("mixed_float16")
    try:
        model = dense(api, dtype="float32")
        model.compile(distributed(api, api.keras.optimizers.SGD(0.1)), "mse")
        fit(model, problem.mine, ranks.PER_RANK, epochs=1)
        for _ in range(2):
            with tempfile.TemporaryDirectory() as folder:
                path = str(Path(folder, "model.keras"))
                model.save(path)
                model = api.hvd.load_model(path)
            assert isinstance(model.optimizer, scaling(api)), model.optimizer
            assert not isinstance(model.optimizer.inner_optimizer, scaling(api)), "scaled twice"
            fit(model, problem.mine, ranks.PER_RANK, epochs=1)
    finally:
        policy("float32")
    alone.compile(api.keras.optimizers.SGD(0.1), "mse")
    ranks.fit_alone(alone, problem, epochs=3)
    ranks.trained_alike("loaded twice", model, alone, within=1e-2)


@check()
def scaled_loss_is_saved_too(api: Any) -> None:
    problem, model, alone = data(), dense(api), dense(api)
    scaler = scaling(api)
    model.compile(scaler(distributed(api, api.keras.optimizers.SGD(0.1)), initial_scale=8.0), "mse")
    alone.compile(api.keras.optimizers.SGD(0.1), "mse")
    fit(model, problem.mine, ranks.PER_RANK, epochs=1)
    ranks.fit_alone(alone, problem)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "model.keras"))
        model.save(path)
        loaded = api.hvd.load_model(path, compression=hvd.Compression.none)
    assert isinstance(loaded.optimizer, scaler)
    fit(loaded, problem.mine, ranks.PER_RANK, epochs=1)
    ranks.trained_alike("scaled, loaded", loaded, alone)
