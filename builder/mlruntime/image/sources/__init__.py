"""Where the content of layers comes from: one module for each kind, registered here.

A source says what enters its layers' keys, and its content writes itself.
"""

from mlruntime.image.sources.conda import CondaSource
from mlruntime.image.sources.debian import ConfiguredSource, DebianSource
from mlruntime.image.sources.ecosystem import EcosystemSource
from mlruntime.image.sources.jars import JarsSource
from mlruntime.image.sources.literal import ContractSource, FilesSource, LibrarySource
from mlruntime.image.sources.python import PythonSource
from mlruntime.image.sources.python_files import ApartSource

# What a layer of `layers.yaml` may be; its `source` says which.
AnySource = (
    ApartSource
    | CondaSource
    | ConfiguredSource
    | ContractSource
    | DebianSource
    | EcosystemSource
    | FilesSource
    | JarsSource
    | LibrarySource
    | PythonSource
)
