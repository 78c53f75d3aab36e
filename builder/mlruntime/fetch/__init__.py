"""Downloads: HTTP as registries need it, and from an artifact to a checked blob."""
