"""A Keras model as bytes, whichever Keras it was made with: Keras 2, Keras 3 or tf-keras."""

import hashlib
import importlib
import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_KERAS = ("keras", "tf_keras")
_WEIGHTS = "model.weights.h5"


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
        config = json.loads(self._config())["compile_config"]
        saving = self.keras().saving
        with saving.custom_object_scope(dict(objects)):
            arguments: dict[str, Any] = saving.deserialize_keras_object(config)
        return arguments

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

    def with_weights(self, weights: list[Any], objects: Mapping[str, Any]) -> "PackedModel":
        """Return the same model with other weights.

        The description stays as it is: a rank, where nothing is registered with Keras, would
        write other names for the user's own classes.
        """
        model = self.model(objects, compiled=True)
        model.set_weights(weights)
        trained = zipfile.ZipFile(io.BytesIO(_saved(model)))
        made = io.BytesIO()
        with (
            trained,
            zipfile.ZipFile(io.BytesIO(self.data)) as old,
            zipfile.ZipFile(made, "w") as new,
        ):
            for info in old.infolist():
                source = trained if info.filename == _WEIGHTS else old
                new.writestr(info, source.read(info.filename))
        return PackedModel(package=self.package, data=made.getvalue())

    def _config(self) -> str:
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            return archive.read("config.json").decode()


def _package_of(model: Any) -> str:
    for kind in type(model).__mro__:
        package = kind.__module__.partition(".")[0]
        if package in _KERAS and kind.__name__ == "Model":
            return package
    raise TypeError(f"model must be a compiled Keras model, not {type(model).__name__}")


def _saved(model: Any) -> bytes:
    with tempfile.TemporaryDirectory(prefix="sparkdl-") as directory:
        path = Path(directory) / "model.keras"
        model.save(path)
        return path.read_bytes()
