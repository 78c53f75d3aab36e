"""Container registries: pushing and pulling images by the OCI distribution specification."""
