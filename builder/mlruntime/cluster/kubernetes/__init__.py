"""Clusters on a Kubernetes, by way of ``kubectl``: the other backend beside containers."""
