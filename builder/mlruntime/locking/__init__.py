"""From a resolution to a lock, and whether a lock still follows from what made it.

May import the ecosystems, definitions, resolve and lock.
"""
