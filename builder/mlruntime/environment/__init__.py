"""What an image has above its system, as a directory on this host, without a container."""
