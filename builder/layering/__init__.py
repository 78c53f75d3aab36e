"""Artifacts to deterministic layers: each module turns one kind of source into tar entries."""
