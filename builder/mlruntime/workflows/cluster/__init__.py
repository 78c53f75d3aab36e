"""Clusters: bringing one up in containers or on Kubernetes, from files to a result."""
