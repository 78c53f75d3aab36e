"""Wheels that PyPI does not have: recipes, patches, and building them in a container."""
