"""A solver for small finite domains. It knows no components.

May import errors only.
"""
