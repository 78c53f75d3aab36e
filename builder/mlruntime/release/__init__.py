"""Releases: publishing a validated image with signed documents, and verifying one.

May import validation, image, ecosystems, registry, definitions, lock, host, matrix, store and
documents.
"""
