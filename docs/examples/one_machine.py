import numpy as np


def rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(4096, 3)).astype("float32")
    return x, x @ [1.0, -2.0, 0.5] + random.normal(scale=0.01, size=4096)


def train(epochs):
    import keras

    x, y = rows()
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    return model.get_weights()[0][:, 0].round(1).tolist()


print(train(epochs=3))
