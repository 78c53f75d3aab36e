"""The check programs: copied into a cluster's driver container and run by the image's Python.

``mlruntime`` outside imports nothing of this, and nothing here may import ``mlruntime``.
"""
