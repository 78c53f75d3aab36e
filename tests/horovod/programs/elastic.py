"""Elastic training for real: ``python elastic.py HOSTS RESULT`` under an elastic horovodrun.

It begins with one rank. After its first epoch rank 0 makes a second slot known in HOSTS, which
the discovery script prints; the ranks meet anew, and train the rest together.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import horovod.tensorflow.keras as hvd
import ranks
import tensorflow as tf
from ranks import data, dense, fit

EPOCHS = 6


def main(hosts: Path, result: Path) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    hvd.init()
    api = ranks.apis()[0]
    model = dense(api, seed=50 + hvd.rank())
    optimizer = hvd.DistributedOptimizer(api.keras.optimizers.Adam(0.01))
    model.compile(optimizer, "mse")
    state = hvd.elastic.KerasState(model, epoch=0, sizes=[])

    @hvd.elastic.run
    def train(state: hvd.elastic.KerasState) -> None:
        while state.epoch < EPOCHS:
            fit(state.model, data().mine, ranks.PER_RANK, epochs=1)
            state.epoch += 1
            state.sizes = [*state.sizes, hvd.size()]
            if state.epoch == 1 and hvd.rank() == 0:
                hosts.write_text("localhost:2\n")
            while hvd.size() == 1 and state.epoch > 1:
                state.check_host_updates()  # raises, sooner or later
            state.commit()

    train(state)
    weights = ranks.everywhere(ranks.flat(model))
    if hvd.rank() == 0:
        apart = float(abs(weights - weights[0]).max())
        result.write_text(json.dumps({"sizes": state.sizes, "apart": apart}))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main(Path(sys.argv[1]), Path(sys.argv[2]))
