import sys

import numpy as np
from sparkdl import HorovodRunner


def rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(4096, 8)).astype("float32")
    return x, (x @ random.normal(size=8) > 0).astype("float32")


def train(epochs):
    import horovod.tensorflow.keras as hvd
    import keras

    hvd.init()  # 1: join the other ranks
    x, y = rows()
    x, y = x[hvd.rank() :: hvd.size()], y[hvd.rank() :: hvd.size()]  # 2: a share of the rows
    keras.utils.set_random_seed(1)  # 3: every rank starts from the same weights
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, activation="sigmoid")])
    optimizer = hvd.DistributedOptimizer(keras.optimizers.SGD(1.0))  # 4: add up the gradients
    model.compile(optimizer, "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=64 // hvd.size(), epochs=epochs, verbose=0)
    accuracy = model.evaluate(*rows(), verbose=0)[1]
    return {"accuracy": round(float(accuracy), 2), "ranks": hvd.size()}


print(HorovodRunner(np=int(sys.argv[1])).run(train, epochs=5))
