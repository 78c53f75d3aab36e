"""CI workflows: files for GitHub and GitLab, rendered from the definitions.

May import templates and definitions. Core: no I/O.
"""
