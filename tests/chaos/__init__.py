"""A cluster under faults, or under many jobs at once: run by hand, `python -m tests.chaos`."""
