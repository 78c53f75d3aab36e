"""Container registries, as the OCI distribution specification has them: images in and out."""
