"""A Keras model as bytes, whichever Keras it was made with: Keras 2, Keras 3 or tf-keras."""

import hashlib
import importlib
import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparkdl.horovod.tensorflow._optimizer import set_state

_KERAS = ("keras", "tf_keras")
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"


@dataclass(frozen=True, kw_only=True)
class PackedModel:
    """A ``.keras`` file, and the package (``keras`` or ``tf_keras``) that can read it."""

    package: str
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, model: Any) -> "PackedModel":
        """Pack a Keras model with its weights. Raises ``TypeError`` or ``ValueError``."""
        package = _package_of(model)
        if not model.built:
            raise ValueError(
                "the model has no weights yet: begin it with an Input, or call model.build(…)"
            )
        if getattr(model, "optimizer", None) is None:
            raise ValueError("the model is not compiled: call model.compile(optimizer, loss)")
        return cls(package=package, data=_saved(model))

    @property
    def digest(self) -> str:
        """Return the sha256 of the file."""
        return hashlib.sha256(self.data).hexdigest()

    def keras(self) -> Any:
        """Import and return the package; before TensorFlow, for tf-keras to be its Keras."""
        if self.package == "tf_keras" and "tensorflow" not in sys.modules:
            os.environ["TF_USE_LEGACY_KERAS"] = "1"
        return importlib.import_module(self.package)

    def model(self, objects: Mapping[str, Any], *, compiled: bool) -> Any:
        """Return the model; ``objects`` has the user's own classes and functions by name."""
        saving = self.keras().saving
        with tempfile.TemporaryDirectory(prefix="sparkdl-") as directory:
            path = Path(directory) / "model.keras"
            path.write_bytes(self.data)
            return saving.load_model(path, custom_objects=dict(objects), compile=compiled)

    def compile_arguments(self, objects: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the model was compiled with, as arguments for ``compile``."""
        config = json.loads(self._config()).get("compile_config")
        if not config or "optimizer" not in config:
            raise ValueError(
                "the model does not say how it was compiled: a class with a compile method of its "
                "own needs get_compile_config and compile_from_config"
            )
        saving = self.keras().saving
        with saving.custom_object_scope(dict(objects)):
            arguments: dict[str, Any] = saving.deserialize_keras_object(config)
        return arguments

    def input_dtypes(self, names: Sequence[str]) -> dict[str, str]:
        """Return the types of the model's inputs by the columns ``names`` that feed them.

        Models that do not say so take float32.
        """
        layers = _inputs(json.loads(self._config())["config"])
        if len(names) == 1:
            return {names[0]: next(iter(layers.values()), "float32")}
        return {name: layers.get(name, "float32") for name in names}

    def named(self, objects: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``objects`` and those the model uses that were registered with Keras.

        They come under every name that the model may know them by.
        """
        keras = sys.modules.get(self.package)
        if keras is None:
            return dict(objects)
        config = self._config()
        found = keras.saving.get_custom_objects()
        registered = {name: one for name, one in found.items() if json.dumps(name) in config}
        given = {keras.saving.get_registered_name(one): one for one in objects.values()}
        return {**registered, **given, **objects}

    def with_state(
        self, weights: list[Any], optimizer: dict[str, Any], objects: Mapping[str, Any]
    ) -> "PackedModel":
        """Return the same model with other weights, and another state of its optimizer.

        The description stays as it is, but for the learning rate: a rank, where nothing is
        registered with Keras, would write other names for the user's own classes.
        """
        model = self.model(objects, compiled=True)
        model.set_weights(weights)
        set_state(model, optimizer)
        described = self.keras().saving.serialize_keras_object(model.optimizer)
        trained = zipfile.ZipFile(io.BytesIO(_saved(model)))
        made = io.BytesIO()
        with (
            trained,
            zipfile.ZipFile(io.BytesIO(self.data)) as old,
            zipfile.ZipFile(made, "w") as new,
        ):
            for info in old.infolist():
                data = (trained if info.filename == _WEIGHTS else old).read(info.filename)
                if info.filename == _CONFIG:
                    data = _with_learning_rate(data, described)
                new.writestr(info, data)
        return PackedModel(package=self.package, data=made.getvalue())

    def _config(self) -> str:
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            return archive.read(_CONFIG).decode()


def _package_of(model: Any) -> str:
    for kind in type(model).__mro__:
        package = kind.__module__.partition(".")[0]
        if package in _KERAS and kind.__name__ == "Model":
            return package
    raise TypeError(f"model must be a compiled Keras model, not {type(model).__name__}")


def _inputs(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the types of the inputs of a functional or sequential model by their names."""
    found = {}
    for layer in config.get("layers", []):
        if layer.get("class_name") == "InputLayer":
            dtype = layer["config"].get("dtype") or "float32"
            if isinstance(dtype, Mapping):  # a policy of Keras 3
                dtype = dtype.get("config", {}).get("name", "float32")
            found[layer["config"]["name"]] = dtype
    return found


def _with_learning_rate(config: bytes, optimizer: dict[str, Any]) -> bytes:
    """Return a model's description with the learning rate its optimizer has now.

    Keras 2 does not keep it with the weights.
    """
    whole = json.loads(config)
    given = whole["compile_config"]["optimizer"]
    if isinstance(given, str):
        whole["compile_config"]["optimizer"] = optimizer
        return json.dumps(whole).encode()
    rates = [one.get("config", {}).get("learning_rate") for one in (given, optimizer)]
    if not all(isinstance(rate, float) for rate in rates):
        return config
    given["config"]["learning_rate"] = rates[1]
    return json.dumps(whole).encode()


def _saved(model: Any) -> bytes:
    with tempfile.TemporaryDirectory(prefix="sparkdl-") as directory:
        path = Path(directory) / "model.keras"
        model.save(path)
        return path.read_bytes()
