"""Releasing: from a lock and a report to a version in a registry, a module for each stage."""
