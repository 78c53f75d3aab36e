"""mlruntime: facts go in (``matrix.yaml``), a proven image comes out."""

__version__ = "0.1.0"
