"""Releases: from a proven image to one that a stranger can trust, and checking what one got."""
