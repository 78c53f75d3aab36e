"""A Spark cluster: what its nodes are, and starting it, in containers or on Kubernetes."""
