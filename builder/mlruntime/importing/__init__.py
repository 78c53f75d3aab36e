"""A first ``runtime.yaml`` from files of other tools, and what could not be taken over.

May import ecosystems, definitions, lock, host, matrix and documents.
"""
