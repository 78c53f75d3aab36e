"""From a resolution to a lock, and whether a lock is stale.

May import ecosystems, definitions, fetch, lock, resolve, host, matrix, store and documents.
"""
