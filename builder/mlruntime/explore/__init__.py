"""Evidence: trying combinations of releases, and recording what works, builds or breaks.

May import every room below it.
"""
