"""CI workflows: files for GitHub and GitLab, rendered from the definitions. Core: no I/O.

May import definitions and lock.
"""
