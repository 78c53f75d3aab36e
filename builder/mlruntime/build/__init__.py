"""The build stage: a plan becomes an image, from the store's artifacts."""
