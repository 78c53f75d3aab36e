"""Environments: a runtime in a directory of this host, without a container."""
