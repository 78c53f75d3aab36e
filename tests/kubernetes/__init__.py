"""The files for Kubernetes on a real Kubernetes node of one machine, started for these tests."""
