"""Downloads: HTTP as registries need it, and files whose hashes are checked.

May import lock, host and store.
"""
