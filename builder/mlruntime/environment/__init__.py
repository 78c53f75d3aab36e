"""Environments: a runtime in a directory of this host, without a container.

May import image, ecosystems, definitions, lock, host, layers, store and documents.
"""
