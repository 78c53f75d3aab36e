"""The static site: runtimes, images, rules and documentation as pages. Values in, files out.

May import image, definitions, lock, resolve, matrix and documents.
"""
