"""Every collective with every type: the right numbers on all ranks, or one error on all."""

from collections.abc import Callable
from typing import Any

import horovod.tensorflow as hvd
import numpy as np
import ranks
import tensorflow as tf
from ranks import check

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
MOVED = ("bool", *INTEGERS, *FLOATS)
ROWS = 2  # for each rank


def whole(name: str, low: int = 1) -> Any:
    """Return ROWS rows for each rank, one row after the other, in exact numbers of the type."""
    numbers = np.arange(low, low + 3 * ROWS * hvd.size()).reshape(-1, 3)
    return numbers % 2 if name == "bool" else numbers


def of(name: str, numbers: Any) -> Any:
    return tf.cast(tf.constant(numbers, tf.int64), tf.as_dtype(name))


def mine(rows: Any) -> Any:
    return rows[hvd.rank() * ROWS : (hvd.rank() + 1) * ROWS]


def same(what: str, found: Any, name: str, wanted: Any) -> None:
    assert found.dtype.name == name, f"{what}: {found.dtype.name} came back"
    ranks.close(what, tf.cast(found, tf.float64), wanted, within=0)


def refused(what: str, call: Callable[[], Any], *words: str) -> None:
    """Fail unless all ranks raise the same TypeError."""
    try:
        call()
        said = ""
    except TypeError as error:
        said = str(error)
    everywhere = hvd.allgather_object(said)
    assert said and set(everywhere) == {said}, f"{what}: {everywhere}"
    assert all(word in said for word in words), said


@check()
def types_that_are_moved(api: Any) -> None:
    for name in MOVED:
        rows = whole(name)
        tensor = of(name, mine(rows))
        same(f"allgather {name}", hvd.allgather(tensor), name, rows)
        grouped = hvd.grouped_allgather([tensor, tensor])
        same(f"grouped allgather {name}", grouped[1], name, rows)
        last = hvd.size() - 1
        same(f"broadcast {name}", hvd.broadcast(tensor, last), name, rows[-ROWS:])
        each = of(name, np.repeat(mine(rows)[:1], hvd.size(), axis=0))
        same(f"alltoall {name}", hvd.alltoall(each), name, rows[::ROWS])
        split, received = hvd.alltoall(each, splits=[1] * hvd.size())
        same(f"alltoall with splits {name}", split, name, rows[::ROWS])
        ranks.close(f"received {name}", received, [1] * hvd.size())
        variable = tf.Variable(tensor)
        hvd.broadcast_variables([variable], root_rank=0)
        same(f"broadcast_variables {name}", variable.read_value(), name, rows[:ROWS])


@check()
def types_that_are_reduced(api: Any) -> None:
    for name in (*INTEGERS, *FLOATS):
        rows = whole(name)
        parts = rows.reshape(hvd.size(), ROWS, 3)
        mean = parts.sum(axis=0) // hvd.size() if name in INTEGERS else parts.mean(axis=0)
        tensor = of(name, mine(rows))
        for op, wanted in (
            (hvd.Sum, parts.sum(axis=0)),
            (hvd.Min, parts.min(axis=0)),
            (hvd.Max, parts.max(axis=0)),
            (hvd.Product, parts.prod(axis=0)),
            (hvd.Average, mean),
        ):
            same(f"allreduce {name} {op}", hvd.allreduce(tensor, op=op), name, wanted)
            found = hvd.grouped_allreduce([tensor, tensor], op=op)
            same(f"grouped allreduce {name} {op}", found[1], name, wanted)
            if op in (hvd.Sum, hvd.Average) and hvd.size() == ROWS:
                part = wanted[hvd.rank() : hvd.rank() + 1]
                same(f"reducescatter {name} {op}", hvd.reducescatter(tensor, op=op), name, part)
                found = hvd.grouped_reducescatter([tensor, tensor], op=op)
                same(f"grouped reducescatter {name} {op}", found[0], name, part)


@check()
def means_past_the_range_of_the_sum(api: Any) -> None:
    """The mean of two numbers is between them, whether or not their sum has a place in the type."""
    for name, number in (("int8", 100), ("uint8", 200), ("int16", 30000), ("int32", 2**31 - 3),
                         ("uint32", 2**32 - 3), ("int64", 2**53 + 1)):  # fmt: skip
        found = hvd.allreduce(of(name, [number]), op=hvd.Average)
        assert int(found[0]) == number, f"{name}: the mean of {number} and {number} is {found[0]}"


@check()
def types_that_are_refused(api: Any) -> None:
    rows = of("bool", whole("bool")[:ROWS] * 0 + hvd.rank())
    same("all", hvd.allreduce(rows, op=hvd.Min), "bool", np.zeros((ROWS, 3)))
    same("any", hvd.allreduce(rows, op=hvd.Max), "bool", np.ones((ROWS, 3)))
    for op, word in ((hvd.Sum, "Sum"), (hvd.Average, "Average")):
        refused("allreduce", lambda op=op: hvd.allreduce(rows, op=op), "bool", word, "Max (any)")
        refused("reducescatter", lambda op=op: hvd.reducescatter(rows, op=op), "bool", word)
    for name in ("uint64", "complex64"):
        tensor = of(name, whole(name)[:ROWS])
        refused("allreduce", lambda t=tensor: hvd.allreduce(t, op=hvd.Sum), name, "not supported")
        refused("allgather", lambda t=tensor: hvd.allgather(t), name, "not supported")
        refused("broadcast", lambda t=tensor: hvd.broadcast(t, 0), name)
        refused("alltoall", lambda t=tensor: hvd.alltoall(t), name)
    text = tf.constant(["a"] * ROWS)
    refused("allgather", lambda: hvd.allgather(text), "string", "not supported")


@check()
def gradients_of_bfloat16(api: Any) -> None:
    """Models of bfloat16 variables train: their gradients travel as float32."""
    problem, layers = ranks.data(), api.keras.layers

    def make() -> Any:
        api.keras.utils.set_random_seed(1)
        return api.keras.Sequential(
            [layers.Input((ranks.FEATURES,)), layers.Dense(4, dtype="bfloat16"),
             layers.Dense(1, dtype="bfloat16")]
        )  # fmt: skip

    model, alone = make(), make()
    model.compile(ranks.distributed(api, api.keras.optimizers.SGD(0.1)), "mse")
    alone.compile(api.keras.optimizers.SGD(0.1), "mse")
    ranks.fit(model, problem.mine, ranks.PER_RANK)
    ranks.fit_alone(alone, problem)
    ranks.trained_alike("bfloat16 variables", model, alone, within=5e-2)
