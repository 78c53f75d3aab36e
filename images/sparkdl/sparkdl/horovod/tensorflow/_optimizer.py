"""The state of an optimizer of Keras 2, Keras 3 or tf-keras, as numpy arrays."""

from typing import Any


def state_of(model: Any) -> dict[str, Any]:
    """Return a compiled model's optimizer's state: its variables, and its learning rate.

    Optimizers of Keras 2 do not count the learning rate among their variables. Variables that a
    first step would make are made.
    """
    _build(model)
    return {
        "optimizer": [_array(one) for one in _variables(model.optimizer)],
        "learning_rate": _learning_rate(model.optimizer),
    }


def set_state(model: Any, state: dict[str, Any]) -> None:
    """Give a compiled model's optimizer the state that ``state_of`` has returned.

    Raises ``ValueError`` when it is the state of an optimizer with other variables.
    """
    _build(model)
    values, variables = state["optimizer"], _variables(model.optimizer)
    if len(variables) != len(values):
        raise ValueError(
            f"the checkpoint has {len(values)} variables of an optimizer, this one has "
            f"{len(variables)}: it was saved with another optimizer or model"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    rate = state.get("learning_rate")
    if rate is not None and _learning_rate(model.optimizer) is not None:
        model.optimizer.learning_rate = rate


def _variables(optimizer: Any) -> list[Any]:
    variables = optimizer.variables
    if callable(variables) and not isinstance(variables, list):  # older than Keras 2.11
        variables = variables()
    return list(variables)


def _build(model: Any) -> None:
    optimizer = model.optimizer
    if hasattr(optimizer, "_create_all_weights"):  # Keras 2's legacy optimizers
        optimizer._create_all_weights(model.trainable_variables)
    elif hasattr(optimizer, "build") and not getattr(optimizer, "built", False):
        optimizer.build(model.trainable_variables)


def _learning_rate(optimizer: Any) -> float | None:
    """Return the learning rate that callbacks may change; ``None`` where a schedule decides."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    rate = getattr(inner, "_learning_rate", None)
    rate = getattr(inner, "learning_rate", None) if rate is None else rate
    if not hasattr(rate, "assign"):
        return None
    return float(_array(rate))


def _array(variable: Any) -> Any:
    return variable.numpy() if hasattr(variable, "numpy") else variable
