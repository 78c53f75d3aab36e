"""From a resolution to a lock, and whether a lock is stale.

May import the ecosystems, definitions, resolve and lock.
"""
