"""The build stage: a plan becomes an image, from the store's artifacts.

May import image, ecosystems, fetch, engine, lock, host, layers, store and documents.
"""
