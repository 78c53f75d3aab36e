"""A Spark cluster: what its nodes are, and starting it, in containers or on Kubernetes.

May import image, definitions, engine, host, matrix, store and documents.
"""
