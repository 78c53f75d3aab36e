"""Documents as text: strict reading of YAML and JSON, and tables.

May import errors only.
"""
