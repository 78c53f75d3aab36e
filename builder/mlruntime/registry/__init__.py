"""Container registries: pushing and pulling images by the OCI distribution specification.

May import fetch, host, store and documents.
"""
