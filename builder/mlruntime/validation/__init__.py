"""Testing a built image on a real cluster: the checks, and how they are run and judged.

May import cluster, image, engine, lock and documents.
"""
