"""An image as data: layer stack, plan, OCI documents, layouts, and what two images differ in.

May import ecosystems, engine, lock, layers, matrix, store and documents.
"""
