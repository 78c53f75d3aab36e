"""Releasing: from a lock and a report to a version in a registry, one module for each stage."""
