"""What a model's answers mean, numbers or scores of classes: its loss tells.

The names are Spark ML's: ``rawPrediction`` is what the model gives, ``probability`` has one
number for each class, ``prediction`` is the most probable class or the number itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_MANY_CLASSES = {
    "categoricalcrossentropy",
    "categoricalfocalcrossentropy",
    "sparsecategoricalcrossentropy",
}
_TWO_CLASSES = {"binarycrossentropy", "binaryfocalcrossentropy"}


@dataclass(frozen=True, kw_only=True)
class Scores:
    """``width``: how many numbers a model gives for a row, ``None`` for one that is no vector.

    ``classes`` is 0 where they are no scores of classes; ``logits`` tells scores that are not
    probabilities yet.
    """

    width: int | None
    classes: int = 0
    logits: bool = False

    @classmethod
    def of(cls, width: int | None, loss: Any) -> "Scores":
        """Return what the answers of a model mean that was compiled with ``loss``."""
        name, logits = _named(_only(loss))
        if width is not None and name in _MANY_CLASSES:
            return cls(width=width, classes=width, logits=logits)
        if width is None and name in _TWO_CLASSES:
            return cls(width=None, classes=2, logits=logits)
        return cls(width=width)

    def as_json(self) -> dict[str, Any]:
        """Return it as it is saved."""
        return asdict(self)

    def columns(self, answers: Any) -> dict[str, Any]:
        """Return arrays of ``raw``, ``probability`` and ``prediction``, a row for each answer."""
        import numpy as np

        scores = np.asarray(answers, "float64").reshape(len(answers), -1)
        if scores.shape[1] == 1:  # of the second class
            scores = np.hstack([-scores if self.logits else 1 - scores, scores])
        probability = scores
        if self.logits:
            # A margin of z for the second of two classes is -z for the first, as in Spark ML.
            margins = scores if self.width is not None else scores * [[0.0, 1.0]]
            powers = np.exp(margins - margins.max(1, keepdims=True))
            probability = powers / powers.sum(1, keepdims=True)
        # Where the model gives no number there is no class either.
        best = np.where(np.isnan(probability).any(1), np.nan, probability.argmax(1))
        return {"raw": scores, "probability": probability, "prediction": best}


def _only(loss: Any) -> Any:
    """Return the loss of the only output, however it was given."""
    while isinstance(loss, Mapping) or (isinstance(loss, Sequence) and not isinstance(loss, str)):
        values = list(loss.values()) if isinstance(loss, Mapping) else list(loss)
        if len(values) != 1:
            return None
        loss = values[0]
    return loss


def _named(loss: Any) -> tuple[str, bool]:
    """Return a loss's name, whichever way it was written, and whether it takes logits."""
    if isinstance(loss, str):
        name, config = loss, {}
    elif isinstance(loss, type) or not hasattr(loss, "get_config"):
        name, config = getattr(loss, "__name__", ""), {}
    else:
        name, config = type(loss).__name__, loss.get_config()
    return name.replace("_", "").lower(), bool(config.get("from_logits", False))
