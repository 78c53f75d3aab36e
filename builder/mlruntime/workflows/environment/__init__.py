"""Environments: making, filling and exporting one, from a lock to a result."""
