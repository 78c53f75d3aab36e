"""Jars from a repository in Maven's layout."""
