"""Programs that run in a container of an image, with its Python; nothing of mlruntime is there."""
