import sys

import numpy as np
from sparkdl import HorovodRunner


def rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(4096, 3)).astype("float32")
    return x, x @ [1.0, -2.0, 0.5] + random.normal(scale=0.01, size=4096)


def train(epochs):
    import horovod.tensorflow.keras as hvd
    import keras

    hvd.init()  # 1: join the other ranks
    x, y = rows()
    x, y = x[hvd.rank() :: hvd.size()], y[hvd.rank() :: hvd.size()]  # 2: a share of the rows
    keras.utils.set_random_seed(1)  # every rank starts from the same weights
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(0.1))  # 3: average the gradients
    model.compile(optimizer, "mse")
    batch_size = 64 // hvd.size()  # 4: a rank's part of the batch
    model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0)
    print(f"rank {hvd.rank()} of {hvd.size()} has seen {len(x)} rows")
    return model.get_weights()[0][:, 0].round(1).tolist()


print(HorovodRunner(np=int(sys.argv[1])).run(train, epochs=3))
