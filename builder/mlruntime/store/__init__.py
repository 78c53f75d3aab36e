"""The content-addressed store on local disk.

May import errors only.
"""
