"""Whether ranks have the same weights: hashes of their bytes, compared on the driver."""

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

from sparkdl._errors import RankFailed
from sparkdl._imports import after_import

_KERAS = ("keras", "tf_keras")
_NAMED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """One weight of a model. Those that are not trained may differ between ranks."""

    name: str
    digest: str
    trained: bool


def after_every_fit(report: Callable[[bytes], None]) -> None:
    """Have every ``fit`` of a Keras model report the weights that it ends with."""
    for name in _KERAS:
        after_import(name, functools.partial(_report_fits, report))


def _report_fits(report: Callable[[bytes], None], keras: ModuleType) -> None:
    original = keras.Model.fit

    @functools.wraps(original)
    def fit(model: Any, *words: Any, **named: Any) -> Any:
        result = original(model, *words, **named)
        report(described(model))
        return result

    keras.Model.fit = fit


def described(model: Any) -> bytes:
    """Describe a model's weights as they travel to the driver."""
    found = [
        *_weights(model.trainable_weights, trained=True),
        *_weights(model.non_trainable_weights, trained=False),
    ]
    return json.dumps([asdict(one) for one in found]).encode()


def _weights(variables: Iterable[Any], *, trained: bool) -> list[Weight]:
    return [
        Weight(
            name=str(getattr(one, "path", None) or getattr(one, "name", number)),
            digest=digest(one),
            trained=trained,
        )
        for number, one in enumerate(variables)
    ]


def digest(variable: Any) -> str:
    """Return the SHA-256 of an array, or of a variable's value: of its type, shape and bytes."""
    if hasattr(variable, "numpy"):
        array = variable.numpy()
    else:
        import numpy as np

        array = np.asarray(variable)
    head = f"{array.dtype} {array.shape} ".encode()
    return hashlib.sha256(head + array.tobytes()).hexdigest()


class Comparison:
    """The weights that ranks have reported, in the order in which each of them did."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.counts = [0] * size
        self._found: dict[int, dict[int, list[Weight]]] = {}

    def add(self, rank: int, data: bytes) -> str | None:
        """Take a rank's report; raise ``RankFailed`` if ranks differ in what they have trained.

        Returns what there is to say when they differ in something else.
        """
        self.counts[rank] += 1
        number = self.counts[rank]
        reports = self._found.setdefault(number, {})
        reports[rank] = [Weight(**one) for one in json.loads(data)]
        if len(reports) < self.size:
            return None
        return _compared(number, self._found.pop(number))

    def left(self) -> str | None:
        """Return what has to be said of reports that not all ranks have made."""
        if not any(self.counts):
            return "check_weights=True, but main has called no fit and no check_weights()"
        if not self._found:
            return None
        return (
            "the ranks' weights were not compared each time: rank by rank, they were reported "
            f"{', '.join(map(str, self.counts))} times"
        )


def _compared(number: int, reports: Mapping[int, Sequence[Weight]]) -> str | None:
    first = reports[0]
    remark = None
    for rank in sorted(reports.keys() - {0}):
        other = reports[rank]
        if len(other) != len(first):
            raise RankFailed(
                f"rank {rank}'s model has {len(other)} weights and rank 0's has {len(first)}: "
                "ranks have to train the same model",
                rank=rank,
            )
        different = [a for a, b in zip(first, other, strict=True) if a.digest != b.digest]
        trained = [one for one in different if one.trained]
        if trained:
            raise RankFailed(
                f"ranks ended with different weights: at check number {number}, rank {rank} "
                f"differs from rank 0 in {len(trained)} of {sum(w.trained for w in first)} trained "
                f"weights ({_names(trained)}). Each has trained by itself, or from other weights. "
                "Gradients must be averaged by hvd.DistributedOptimizer or "
                "hvd.DistributedGradientTape before they are applied, and all ranks must start "
                "from the same weights (hvd.callbacks.BroadcastGlobalVariablesCallback(0)).",
                rank=rank,
            )
        if different:
            remark = (
                f"ranks have trained the same weights; rank {rank} differs from rank 0 in "
                f"{len(different)} that are not trained ({_names(different)}), as the moving "
                "averages of BatchNormalization do. Rank 0's are what main returns."
            )
    return remark


def _names(weights: Sequence[Weight]) -> str:
    names = ", ".join(one.name for one in weights[:_NAMED])
    return f"{names}, …" if len(weights) > _NAMED else names
