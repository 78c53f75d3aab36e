"""An image as data: layer stack, plan, OCI documents, layouts, and what two images differ in.

May import lock, layers, store and engine.
"""
