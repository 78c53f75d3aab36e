"""The check programs: copied into a cluster's driver container and run by the image's Python.

Nothing here is imported by the builder, and nothing here may import the builder.
"""
