"""CI pipelines: workflow files from the definitions, for those who keep them in a repository.

May import templates and definitions. Core: no I/O.
"""
