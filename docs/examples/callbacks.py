from sparkdl import HorovodRunner


def train(epochs):
    import horovod.tensorflow.keras as hvd
    import keras
    import numpy as np
    from horovod.tensorflow import allgather_object
    from sparkdl.horovod.tensorflow.keras import collective_callbacks

    hvd.init()
    x = np.random.default_rng(hvd.rank()).normal(size=(64, 3)).astype("float32")
    y = x @ [1.0, -2.0, 0.5] + 10 * hvd.rank()  # the ranks' losses differ
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(hvd.DistributedOptimizer(keras.optimizers.SGD(0.1)), "mse")
    stop = keras.callbacks.EarlyStopping("loss", patience=1, min_delta=1.0)
    done = model.fit(x, y, epochs=epochs, callbacks=collective_callbacks([stop]), verbose=0)
    ranks = allgather_object(done.history["loss"])
    return {"the same on all ranks": ranks[0] == ranks[1], "stopped": len(ranks[0]) < epochs}


print(HorovodRunner(np=-2).run(train, epochs=100))
