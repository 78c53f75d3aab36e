import sys

import tensorflow as tf
from sparkdl import HorovodRunner


def train(pattern):
    import horovod.tensorflow as hvd
    import tensorflow as tf
    from sparkdl.data import equal_steps, shard_files

    hvd.init()
    mine = shard_files(pattern, hvd.rank(), hvd.size())
    records = tf.data.TFRecordDataset(mine)
    numbers = records.map(lambda record: tf.io.parse_tensor(record, tf.float32))
    batches = numbers.batch(4, drop_remainder=True)
    steps = equal_steps(batches.reduce(0, lambda count, _: count + 1).numpy())
    sums = [float(hvd.allreduce(tf.reduce_sum(b), op=hvd.Sum)) for b in batches.take(steps)]
    return {"files": len(mine), "steps": steps, "sum": sum(sums)}


folder = sys.argv[1]
for i, records in enumerate([5, 30, 9, 20, 17]):
    with tf.io.TFRecordWriter(f"{folder}/{i}.tfrecord") as writer:
        for _ in range(records):
            writer.write(tf.io.serialize_tensor(tf.ones(3)).numpy())
print(HorovodRunner(np=2).run(train, pattern=f"{folder}/*.tfrecord"))
